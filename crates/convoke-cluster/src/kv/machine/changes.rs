use std::collections::VecDeque;

use bytes::Bytes;

use crate::kv::{
    Value,
    limits::{CHANGE_BYTES_MAX, CHANGES_MAX},
};

/// What a change takes beside its bytes.
const CHANGE_BYTES: usize = 100;

/// What happened to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// It was written.
    Put {
        /// Which one.
        key: Bytes,
        /// What stands there now. Its version is the place of the change in the log.
        value: Value,
    },
    /// It was deleted.
    Deleted {
        /// Which one.
        key: Bytes,
        /// Where in the log.
        index: u64,
    },
    /// Its time was over.
    Expired {
        /// Which one.
        key: Bytes,
        /// Where in the log it was removed.
        index: u64,
    },
}

impl Change {
    /// Which key.
    #[must_use]
    pub fn key(&self) -> &Bytes {
        let (Self::Put { key, .. } | Self::Deleted { key, .. } | Self::Expired { key, .. }) = self;
        key
    }

    /// Where in the log.
    #[must_use]
    pub fn index(&self) -> u64 {
        match self {
            Self::Put { value, .. } => value.version,
            Self::Deleted { index, .. } | Self::Expired { index, .. } => *index,
        }
    }

    fn bytes(&self) -> usize {
        let value = if let Self::Put { value, .. } = self { value.bytes.len() } else { 0 };
        CHANGE_BYTES + self.key().len() + value
    }
}

/// The latest changes, shared by all who watch: each remembers a place, and nobody's slowness costs memory.
#[derive(Debug, Clone)]
pub(in crate::kv) struct Changes {
    recent: VecDeque<Change>,
    /// The place of the first of `recent`. Places are this node's own.
    first: u64,
    /// Every change behind this index of the log is in `recent`.
    complete_after: u64,
    bytes: usize,
    len_max: usize,
    bytes_max: usize,
}

/// Changes are gone that somebody would have been told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kv) struct Lag {
    /// Up to here in the log.
    pub(in crate::kv) until: u64,
    /// The place to go on from.
    pub(in crate::kv) place: u64,
}

impl Default for Changes {
    fn default() -> Self {
        Self::with_limits(CHANGES_MAX, CHANGE_BYTES_MAX)
    }
}

impl Changes {
    fn with_limits(len_max: usize, bytes_max: usize) -> Self {
        Self { recent: VecDeque::new(), first: 0, complete_after: 0, bytes: 0, len_max, bytes_max }
    }

    pub(super) fn push(&mut self, change: Change) {
        self.bytes += change.bytes();
        self.recent.push_back(change);
        while self.recent.len() > self.len_max || self.bytes > self.bytes_max {
            let Some(gone) = self.recent.pop_front() else { return };
            self.bytes -= gone.bytes();
            self.first += 1;
            self.complete_after = gone.index();
        }
    }

    /// The state jumped to what it is at `index`: whoever watches has missed something.
    pub(super) fn jump(&mut self, index: u64) {
        self.first = self.end() + 1;
        self.recent.clear();
        self.bytes = 0;
        self.complete_after = index;
    }

    /// The place behind the latest change.
    pub(in crate::kv) fn end(&self) -> u64 {
        self.first + self.recent.len() as u64
    }

    /// The place of the first change behind an index of the log.
    pub(in crate::kv) fn place_after(&self, index: u64) -> Result<u64, Lag> {
        if index < self.complete_after {
            return Err(self.lag());
        }
        Ok(self.first + self.recent.partition_point(|change| change.index() <= index) as u64)
    }

    /// Changes of keys that start with `prefix`, from a place on, and the place behind them.
    pub(in crate::kv) fn since(
        &self,
        place: u64,
        prefix: &[u8],
        max: usize,
    ) -> Result<(Vec<Change>, u64), Lag> {
        if place < self.first {
            return Err(self.lag());
        }
        let mut next = place;
        let mut found = Vec::new();
        for change in self.recent.iter().skip((place - self.first) as usize) {
            if found.len() == max {
                break;
            }
            next += 1;
            if change.key().starts_with(prefix) {
                found.push(change.clone());
            }
        }
        Ok((found, next))
    }

    fn lag(&self) -> Lag {
        Lag { until: self.complete_after, place: self.first }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deleted(key: &'static str, index: u64) -> Change {
        Change::Deleted { key: Bytes::from_static(key.as_bytes()), index }
    }

    fn filled(len_max: usize, bytes_max: usize) -> Changes {
        let mut changes = Changes::with_limits(len_max, bytes_max);
        for (number, key) in ["a1", "b1", "a2", "b2"].into_iter().enumerate() {
            changes.push(deleted(key, 10 + number as u64));
        }
        changes
    }

    #[test]
    fn who_watches_is_told_its_keys_in_order_and_nothing_twice() {
        let changes = filled(10, 10_000);
        assert_eq!(changes.since(0, b"a", 1), Ok((vec![deleted("a1", 10)], 1)));
        assert_eq!(changes.since(1, b"a", 9), Ok((vec![deleted("a2", 12)], 4)));
        assert_eq!(changes.since(4, b"a", 9), Ok((vec![], 4)));
    }

    #[test]
    fn what_is_beyond_the_limits_is_dropped_and_who_was_slow_is_told() {
        for changes in [filled(2, 10_000), filled(10, 2 * (CHANGE_BYTES + 2))] {
            assert_eq!(changes.since(1, b"", 9), Err(Lag { until: 11, place: 2 }));
            assert_eq!(changes.since(2, b"", 9), Ok((vec![deleted("a2", 12), deleted("b2", 13)], 4)));
            assert_eq!(changes.place_after(10), Err(Lag { until: 11, place: 2 }));
            assert_eq!(changes.place_after(11), Ok(2));
            assert_eq!(changes.place_after(12), Ok(3));
            assert_eq!(changes.place_after(99), Ok(4));
        }
    }

    #[test]
    fn who_saw_the_latest_before_a_jump_has_missed_something_too() {
        let mut changes = filled(10, 10_000);
        let place = changes.end();
        changes.jump(50);
        assert_eq!(changes.since(place, b"", 9), Err(Lag { until: 50, place: 5 }));
        changes.push(deleted("c", 51));
        assert_eq!(changes.since(5, b"", 9), Ok((vec![deleted("c", 51)], 6)));
        assert_eq!(changes.bytes, CHANGE_BYTES + 1);
    }
}
