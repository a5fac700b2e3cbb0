use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Mutex, MutexGuard},
};

use uuid::Uuid;

use super::hub::lock;
use crate::{Outgoing, Receipt};

/// Messages a log keeps; of events the oldest go first, as in a stream with limits.
pub(super) const LOG_MAX: usize = 65_536;

/// A stream: messages with their numbers, from 1.
#[derive(Default)]
pub(super) struct Log(Mutex<Messages>);

#[derive(Default)]
struct Messages {
    kept: BTreeMap<u64, Outgoing>,
    last: u64,
    /// The ids of the newest messages, also of those that are gone: a repeat is not stored again.
    known: HashMap<Uuid, u64>,
    order: VecDeque<Uuid>,
}

impl Log {
    /// Stores a message; the oldest goes when there are too many.
    pub(super) fn push(&self, message: Outgoing) -> Receipt {
        let mut log = self.lock();
        let receipt = log.append(message);
        if log.kept.len() > LOG_MAX {
            log.kept.pop_first();
        }
        receipt
    }

    /// Stores a message, or answers `None` when there are too many.
    pub(super) fn push_if_room(&self, message: Outgoing) -> Option<Receipt> {
        let mut log = self.lock();
        (log.kept.len() < LOG_MAX).then(|| log.append(message))
    }

    /// The message with this number, or the next one that is still kept, or else the number of the newest that
    /// ever was: what comes later comes behind it.
    pub(super) fn get(&self, sequence: u64) -> Result<(u64, Outgoing), u64> {
        let log = self.lock();
        let next = log.kept.range(sequence..).next();
        next.map(|(sequence, message)| (*sequence, message.clone())).ok_or(log.last)
    }

    /// Takes a settled job away.
    pub(super) fn remove(&self, sequence: u64) {
        self.lock().kept.remove(&sequence);
    }

    /// The number of the newest message; 0 when there was none.
    pub(super) fn last(&self) -> u64 {
        self.lock().last
    }

    /// All messages that are kept.
    pub(super) fn all(&self) -> Vec<Outgoing> {
        self.lock().kept.values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Messages> {
        lock(&self.0)
    }
}

impl Messages {
    fn append(&mut self, message: Outgoing) -> Receipt {
        let id = message.envelope.id();
        if let Some(sequence) = self.known.get(&id) {
            return Receipt { sequence: *sequence, duplicate: true };
        }
        self.last += 1;
        self.kept.insert(self.last, message);
        self.known.insert(id, self.last);
        self.order.push_back(id);
        if self.order.len() > LOG_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        Receipt { sequence: self.last, duplicate: false }
    }
}
