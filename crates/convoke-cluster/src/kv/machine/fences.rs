use std::io::{self, Read, Write};

use bytes::Bytes;
use imbl::{OrdMap, OrdSet};

use crate::{
    coding::{self, damaged},
    kv::limits::{FENCES_MAX, SCOPE_BYTES_MAX},
};

/// The newest fence that was seen under each name.
///
/// The number of names is bounded. Fences are places of the log, the same for all names: so when the oldest is
/// dropped, it is enough to refuse under unknown names whatever is older than that one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fences {
    newest: OrdMap<Bytes, u64>,
    /// Derived from `newest`.
    by_age: OrdSet<(u64, Bytes)>,
    /// The newest fence that was dropped.
    horizon: u64,
    max: usize,
}

impl Default for Fences {
    fn default() -> Self {
        Self::with_max(FENCES_MAX)
    }
}

impl Fences {
    fn with_max(max: usize) -> Self {
        Self { newest: OrdMap::new(), by_age: OrdSet::new(), horizon: 0, max }
    }

    /// Lets pass what is not older than what was seen, and remembers it.
    ///
    /// # Errors
    /// The newer fence.
    pub(super) fn admit(&mut self, scope: &Bytes, token: u64) -> Result<(), u64> {
        let known = self.newest.get(scope).copied();
        let newest = known.unwrap_or(self.horizon);
        if token < newest {
            return Err(newest);
        }
        if known != Some(token) {
            self.newest.insert(scope.clone(), token);
            known.and_then(|known| self.by_age.remove(&(known, scope.clone())));
            self.by_age.insert((token, scope.clone()));
            self.drop_oldest();
        }
        Ok(())
    }

    fn drop_oldest(&mut self) {
        while self.newest.len() > self.max {
            let Some((token, scope)) = self.by_age.remove_min() else { return };
            self.newest.remove(&scope);
            self.horizon = self.horizon.max(token);
        }
    }

    pub(super) fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        coding::write_record(to, &self.horizon)?;
        coding::write_count(to, self.newest.len())?;
        self.newest.iter().try_for_each(|known| coding::write_record(to, &known))
    }

    pub(super) fn read(from: &mut dyn Read) -> io::Result<Self> {
        let mut fences = Self { horizon: coding::read_record(from, 16)?, ..Self::default() };
        for _ in 0..coding::read_count(from, FENCES_MAX as u64)? {
            let (scope, token): (Bytes, u64) = coding::read_record(from, SCOPE_BYTES_MAX + 32)?;
            fences.by_age.insert((token, scope.clone()));
            if fences.newest.insert(scope, token).is_some() {
                return Err(damaged("a fence that is there twice"));
            }
        }
        Ok(fences)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(name: &str) -> Bytes {
        Bytes::copy_from_slice(name.as_bytes())
    }

    #[test]
    fn what_is_older_than_what_was_seen_is_refused() {
        let mut fences = Fences::default();
        assert_eq!(fences.admit(&scope("a"), 5), Ok(()));
        assert_eq!(fences.admit(&scope("a"), 5), Ok(()));
        assert_eq!(fences.admit(&scope("a"), 4), Err(5));
        assert_eq!(fences.admit(&scope("b"), 4), Ok(()), "each name has its own");
        assert_eq!(fences.admit(&scope("a"), 6), Ok(()));
        assert_eq!(fences.admit(&scope("a"), 5), Err(6));
    }

    #[test]
    fn a_name_that_was_dropped_lets_nothing_older_pass() {
        let mut fences = Fences::with_max(2);
        for (name, token) in [("a", 10), ("b", 20), ("c", 30)] {
            assert_eq!(fences.admit(&scope(name), token), Ok(()));
        }
        assert_eq!((fences.newest.len(), fences.by_age.len()), (2, 2));
        assert_eq!(fences.admit(&scope("a"), 9), Err(10));
        assert_eq!(fences.admit(&scope("a"), 10), Ok(()));
        assert_eq!(fences.admit(&scope("new"), 9), Err(10), "the same for a name that was never seen");
    }
}
