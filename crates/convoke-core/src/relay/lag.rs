use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::Taken;

/// How far the outbox of a service is behind: what this node last saw, a sweep ago at most, with what it committed
/// since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct OutboxLag {
    /// Messages that wait for the broker.
    pub waiting: u64,
    /// For how long the oldest of them does.
    pub oldest: Option<Duration>,
    /// Messages that were put aside, because the broker will never take them.
    pub parked: u64,
}

/// What is known of each slot.
pub(super) struct Lags {
    slots: Mutex<Vec<Slot>>,
    waiting: AtomicU64,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    waiting: u64,
    since: Option<Instant>,
    parked: u64,
}

impl Lags {
    pub(super) fn new(slots: u16) -> Self {
        Self { slots: Mutex::new(vec![Slot::default(); usize::from(slots)]), waiting: AtomicU64::new(0) }
    }

    /// Rows that wait, of all slots.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    pub(super) fn total(&self) -> OutboxLag {
        let slots = self.slots();
        let since = slots.iter().filter_map(|slot| slot.since).min();
        OutboxLag {
            waiting: slots.iter().map(|slot| slot.waiting).sum(),
            oldest: since.map(|since| since.elapsed()),
            parked: slots.iter().map(|slot| slot.parked).sum(),
        }
    }

    /// A commit told how many rows its slot holds now.
    pub(super) fn note_waiting(&self, slot: u16, waiting: u64) {
        self.change(slot, |slot| {
            slot.waiting = waiting;
            slot.since.get_or_insert_with(Instant::now);
        });
    }

    /// A look at a slot told how it stands.
    pub(super) fn note(&self, slot: u16, taken: &Taken) {
        self.change(slot, |slot| {
            slot.waiting = taken.waiting;
            slot.parked = taken.parked;
            slot.since = taken.oldest.map(|age| Instant::now().checked_sub(age).unwrap_or_else(Instant::now));
        });
    }

    fn change(&self, slot: u16, change: impl FnOnce(&mut Slot)) {
        let mut slots = self.slots();
        if let Some(slot) = slots.get_mut(usize::from(slot)) {
            let before = slot.waiting;
            change(slot);
            let after = slot.waiting;
            // Only here, under the lock: the sum stays the sum.
            let sum = self.waiting.load(Ordering::Relaxed) - before + after;
            self.waiting.store(sum, Ordering::Relaxed);
        }
    }

    fn slots(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_sum_is_of_all_slots_and_the_age_is_the_oldest_ones() {
        let lags = Lags::new(2);
        lags.note_waiting(0, 3);
        tokio::time::advance(Duration::from_secs(2)).await;
        lags.note_waiting(1, 4);
        let lag = lags.total();
        assert_eq!((lag.waiting, lags.waiting(), lag.oldest), (7, 7, Some(Duration::from_secs(2))));
        lags.note(0, &Taken { parked: 1, ..Taken::default() });
        let lag = lags.total();
        assert_eq!((lag.waiting, lags.waiting(), lag.parked), (4, 4, 1));
        assert_eq!(lag.oldest, Some(Duration::ZERO));
    }
}
