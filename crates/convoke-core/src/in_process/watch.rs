use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{hub::Hub, letters::Admin};
use crate::{DeadLetter, DeadLetters, Limits, Message, Payload, payload::take};

/// What happens on an in-process bus: recorded messages, accounting, and faults on request. For tests.
#[derive(Clone)]
pub struct Bus {
    hub: Arc<Hub>,
}

impl Bus {
    pub(super) fn of(hub: Arc<Hub>) -> Self {
        Self { hub }
    }

    /// From now on everything is encoded and decoded, also between nodes of this process, so that what works
    /// here works on the wire.
    pub fn encode_always(&self) {
        self.hub.set_encodes(true);
    }

    /// Faults the bus makes from now on.
    pub fn faults(&self) -> &Faults {
        &self.hub.faults
    }

    /// Returns when every request is answered and every event is settled by every consumer that wants it.
    /// It counts; it does not wait a while.
    pub async fn settled(&self) {
        loop {
            self.hub.pending.rest().await;
            // A reader may be about to take an event that was stored just now: it is behind, not at rest.
            if !self.hub.is_behind() {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// The published events of type `E` that the bus still keeps, oldest first.
    pub fn published<E: Message>(&self) -> Vec<E> {
        let events = self.hub.events.all().into_iter().filter(|event| event.name == E::NAME);
        events.filter_map(|event| value(event.payload)).collect()
    }

    /// The commands of type `C` that went over the bus, oldest first; the newest 10,000 of all commands and
    /// queries are kept. Only recorded while [`encode_always`](Self::encode_always) is on.
    pub fn sent<C: Message>(&self) -> Vec<C> {
        let sent = self.hub.requests().into_iter().filter(|(name, _)| *name == C::NAME);
        sent.filter_map(|(_, payload)| value(payload)).collect()
    }

    /// The enqueued commands of type `C` that are due and not settled, oldest first.
    pub fn enqueued<C: Message>(&self) -> Vec<C> {
        let jobs = self.hub.jobs.all().into_iter().filter(|job| job.name == C::NAME);
        jobs.filter_map(|job| value(job.payload)).collect()
    }

    /// The dead letters where they lie, to replay and to drop.
    pub fn letters(&self) -> Arc<dyn DeadLetters> {
        Arc::new(Admin(self.hub.clone()))
    }

    /// What no handler could handle.
    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        self.hub.letters.all()
    }
}

fn value<M: Message>(payload: Payload) -> Option<M> {
    match payload {
        Payload::Message(body) => take(body),
        Payload::Bytes { codec, bytes } => codec.decode(&bytes, &Limits::default()).ok(),
        Payload::Answer(_) => None,
    }
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bus")
    }
}

/// Faults that a bus makes on request.
#[derive(Debug, Default)]
pub struct Faults {
    twice: AtomicBool,
    again: AtomicBool,
}

impl Faults {
    /// From now on every event is delivered twice at once to each consumer.
    pub fn deliver_twice(&self, on: bool) {
        self.twice.store(on, Ordering::Relaxed);
    }

    /// From now on every event is delivered once more after it was settled, as by a broker that did not get the
    /// acknowledgement.
    pub fn redeliver(&self, on: bool) {
        self.again.store(on, Ordering::Relaxed);
    }

    pub(super) fn redelivers(&self) -> bool {
        self.again.load(Ordering::Relaxed)
    }

    pub(super) fn delivers_twice(&self) -> bool {
        self.twice.load(Ordering::Relaxed)
    }
}
