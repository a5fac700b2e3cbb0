//! Who in this process waits for which record.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// So many records can be waited for with prompt wake-ups. Whoever comes later finds out by looking.
pub(crate) const WAITERS_MAX: usize = 16 * 1024;

type Waiting = HashMap<u64, (Arc<Notify>, usize)>;

/// Everybody who waits.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    waiting: Mutex<Waiting>,
}

/// One who waits, until dropped.
#[derive(Debug)]
pub(crate) struct Waiter {
    waiters: Arc<Waiters>,
    record: u64,
    pub(crate) changed: Arc<Notify>,
}

impl Waiters {
    /// `None` when too many wait already.
    pub(crate) fn join(self: &Arc<Self>, record: u64) -> Option<Waiter> {
        let mut waiting = self.lock();
        let full = waiting.len() >= WAITERS_MAX;
        let changed = match waiting.entry(record) {
            Entry::Occupied(mut entry) => {
                let (changed, count) = entry.get_mut();
                *count += 1;
                Arc::clone(changed)
            }
            Entry::Vacant(_) if full => return None,
            Entry::Vacant(entry) => Arc::clone(&entry.insert((Arc::default(), 1)).0),
        };
        Some(Waiter { waiters: Arc::clone(self), record, changed })
    }

    /// Wakes all who wait for the record.
    pub(crate) fn wake(&self, record: u64) {
        if let Some((changed, _)) = self.lock().get(&record) {
            changed.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut waiting = self.waiters.lock();
        if let Entry::Occupied(mut entry) = waiting.entry(self.record) {
            entry.get_mut().1 -= 1;
            if entry.get().1 == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wake_up_reaches_everybody_who_waits_for_that_record_and_nobody_else() {
        let waiters = Arc::new(Waiters::default());
        let (first, second, other) =
            (waiters.join(1).unwrap(), waiters.join(1).unwrap(), waiters.join(2).unwrap());
        let mut woken = [&first, &second, &other].map(|waiter| Box::pin(waiter.changed.notified()));
        for notified in &mut woken {
            assert!(!notified.as_mut().enable());
        }
        waiters.wake(1);
        assert_eq!(woken.each_mut().map(|notified| notified.as_mut().enable()), [true, true, false]);
    }

    #[test]
    fn nothing_is_kept_of_those_who_left() {
        let waiters = Arc::new(Waiters::default());
        let (first, second) = (waiters.join(1), waiters.join(1));
        drop(first);
        assert_eq!(waiters.lock().len(), 1);
        drop(second);
        assert!(waiters.lock().is_empty());
    }

    #[test]
    fn records_beyond_the_limit_are_not_taken_in() {
        let waiters = Arc::new(Waiters::default());
        let all: Vec<_> = (0..WAITERS_MAX as u64).map(|record| waiters.join(record).unwrap()).collect();
        assert!(waiters.join(u64::MAX).is_none());
        assert!(waiters.join(0).is_some(), "one that is waited for already costs nothing");
        drop(all);
        assert!(waiters.join(u64::MAX).is_some());
    }
}
