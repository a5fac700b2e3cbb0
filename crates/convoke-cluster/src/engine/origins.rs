use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use uuid::Uuid;

use super::types::Origin;

/// The proposals of this node that are under way, and their names.
///
/// A name is used until its outcome is known or nobody waits for it any more; then the cluster may forget it.
#[derive(Debug)]
pub(crate) struct Origins {
    client: Uuid,
    /// What was applied here when the first name was given.
    born: u64,
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    next: u64,
    open: BTreeSet<u64>,
}

/// One proposal under way. Over when it is dropped.
#[derive(Debug)]
pub(crate) struct Open<'a> {
    origins: &'a Origins,
    sequence: u64,
}

impl Origins {
    pub(crate) fn new(client: Uuid, born: u64) -> Self {
        Self { client, born, table: Mutex::new(Table { next: 1, open: BTreeSet::new() }) }
    }

    /// A name for a new proposal; `None` when more than `open_max` are under way.
    pub(crate) fn open(&self, open_max: usize) -> Option<Open<'_>> {
        let mut table = self.table();
        if table.open.len() >= open_max {
            return None;
        }
        let sequence = table.next;
        table.next += 1;
        table.open.insert(sequence);
        Some(Open { origins: self, sequence })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing panics while it is held, and a set of numbers cannot be half changed.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open<'_> {
    /// The name as it goes into the log. Asked for anew for each attempt: more may have been answered since.
    pub(crate) fn origin(&self) -> Origin {
        let table = self.origins.table();
        let answered_below = table.open.first().copied().unwrap_or(table.next);
        Origin {
            client: self.origins.client,
            sequence: self.sequence,
            answered_below,
            born: self.origins.born,
        }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.origins.table().open.remove(&self.sequence);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_waits_for_counts_as_answered() {
        let origins = Origins::new(Uuid::now_v7(), 7);
        let first = origins.open(8).expect("there is room");
        let second = origins.open(8).expect("there is room");
        assert_eq!((second.origin().sequence, second.origin().answered_below), (2, 1));
        drop(first);
        assert_eq!(second.origin().answered_below, 2);
        drop(second);
        let third = origins.open(8).expect("there is room");
        assert_eq!((third.origin().sequence, third.origin().answered_below, third.origin().born), (3, 3, 7));
    }

    #[test]
    fn no_more_than_the_limit_are_under_way() {
        let origins = Origins::new(Uuid::now_v7(), 0);
        let first = origins.open(1).expect("there is room");
        assert!(origins.open(1).is_none());
        drop(first);
        assert!(origins.open(1).is_some());
    }
}
