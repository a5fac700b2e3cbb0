use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use async_nats::Subject;
use tokio::sync::Notify;

/// Events that were handed over and are not settled, by their place in the stream.
#[derive(Debug, Default)]
pub(super) struct Flight {
    events: Mutex<BTreeMap<u64, Ack>>,
    /// One of them settled.
    pub(super) settled: Notify,
    /// One of them was not handled, where order matters.
    broken: AtomicBool,
}

/// Where to acknowledge a delivery.
#[derive(Debug, Clone)]
pub(super) struct Ack {
    pub(super) subject: Subject,
    /// How often the message was delivered, this time included.
    pub(super) deliveries: i64,
}

impl Flight {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Ack>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Whether it is new. One that is in flight already was sent again because its progress was not heard of; the
    /// newer subject is the one to acknowledge.
    pub(super) fn begin(&self, sequence: u64, ack: Ack) -> bool {
        match self.lock().entry(sequence) {
            Entry::Vacant(slot) => {
                slot.insert(ack);
                true
            }
            Entry::Occupied(mut slot) => {
                slot.insert(ack);
                false
            }
        }
    }
    /// Where to acknowledge it.
    pub(super) fn end(&self, sequence: u64) -> Option<Ack> {
        let ack = self.lock().remove(&sequence);
        self.settled.notify_one();
        ack
    }
    /// It was not handled, and those behind it must wait for it.
    pub(super) fn break_off(&self, sequence: u64) {
        self.broken.store(true, Ordering::Release);
        self.end(sequence);
    }
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }
    /// What was not handled comes again.
    pub(super) fn mend(&self) {
        self.broken.store(false, Ordering::Release);
    }
    /// The stream is gone: what is in flight has nothing to acknowledge any more.
    pub(super) fn forget(&self) {
        self.lock().clear();
    }
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }
    pub(super) fn oldest(&self) -> Option<u64> {
        self.lock().first_key_value().map(|(sequence, _)| *sequence)
    }
    /// Where to say that work goes on.
    pub(super) fn acks(&self) -> Vec<Subject> {
        self.lock().values().map(|ack| ack.subject.clone()).collect()
    }
}
