use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
};

use futures_util::future::join_all;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::Instant,
};

use super::hub::{Cursor, EVENTS_MAX, Hub, Place, Progress, Underway, lock};
use crate::{Audience, Consume, ConsumeSpec, Incoming, NodeIdentity, Outgoing, Position, Settled};

/// One consumer of one node: reads the log in order, hands over what it wants, takes back what was not settled.
struct Reader {
    hub: Arc<Hub>,
    durable: Option<String>,
    names: HashSet<&'static str>,
    consume: Arc<dyn Consume>,
    slots: Arc<Semaphore>,
    place: Place,
    leaving: watch::Receiver<bool>,
    progress: Arc<Progress>,
}

pub(super) fn start(hub: &Arc<Hub>, node: &NodeIdentity, spec: ConsumeSpec, consume: Arc<dyn Consume>) {
    let Some(place) = hub.place(&node.node) else { return };
    let durable = match &spec.audience {
        Audience::Node => Some(format!("{}__{}", node.service, node.node)),
        Audience::Group(group) => Some(format!("{}__{group}", node.service)),
        Audience::View => None,
    };
    if let Some(name) = &durable {
        // A node sees what is published from its first start on; a group sees everything.
        let next = if spec.audience == Audience::Node { hub.last() + 1 } else { 1 };
        lock(&hub.cursors).entry(name.clone()).or_insert(Cursor { next, ..Cursor::default() });
    }
    let reader = Reader {
        hub: hub.clone(),
        durable,
        names: spec.names.into_iter().collect(),
        consume,
        slots: Arc::new(Semaphore::new(spec.in_flight_max.clamp(1, EVENTS_MAX))),
        leaving: place.leaving(),
        place,
        progress: hub.reader(),
    };
    tokio::spawn(reader.run());
}

impl Reader {
    async fn run(mut self) {
        let mut own = Cursor { next: 1, ..Cursor::default() };
        let until = self.hub.last();
        let mut caught_up = false;
        let slots_max = self.slots.available_permits();
        loop {
            let slots = self.slots.clone();
            let slot = tokio::select! {
                biased;
                _ = self.leaving.wait_for(|leaving| *leaving) => return,
                slot = slots.acquire_owned() => slot.expect("the semaphore is never closed"),
            };
            let hub = self.hub.clone();
            let stored = hub.stored.notified();
            let mut stored = std::pin::pin!(stored);
            stored.as_mut().enable(); // before the look, so that no event is missed
            match self.take(&mut own) {
                Some((sequence, event, underway)) => self.hand_over(sequence, event, underway, slot),
                None => {
                    drop(slot);
                    if !caught_up && self.durable.is_none() && own.next > until {
                        caught_up = true;
                        self.settle_all(slots_max).await;
                        self.consume.caught_up();
                    }
                    tokio::select! {
                        biased;
                        _ = self.leaving.wait_for(|leaving| *leaving) => return,
                        () = stored => {}
                    }
                }
            }
        }
    }

    /// Waits until nothing that was handed over is unsettled.
    async fn settle_all(&self, slots_max: usize) {
        let all = u32::try_from(slots_max).expect("bounded by EVENTS_MAX");
        let _ = self.slots.acquire_many(all).await; // the semaphore is never closed
    }

    /// The next event this consumer wants. Members of a group share the cursor, so each event has one taker.
    fn take(&self, own: &mut Cursor) -> Option<(u64, Outgoing, [Underway; 2])> {
        let mut cursors = lock(&self.hub.cursors);
        let cursor = match &self.durable {
            Some(name) => cursors.entry(name.clone()).or_default(),
            None => own,
        };
        loop {
            let handed_back = cursor.again.pop_front();
            let wanted = handed_back.unwrap_or(cursor.next);
            let Some((sequence, event)) = self.hub.event(wanted) else {
                self.progress.set(cursor.next.saturating_sub(1));
                return None;
            };
            match handed_back {
                None => cursor.next = sequence + 1,
                Some(gone) if gone != sequence => continue, // it was pushed out of the log meanwhile
                Some(_) => {}
            }
            if self.names.contains(event.name) {
                return Some((sequence, event, [self.hub.pending.enter(), self.place.pending.enter()]));
            }
        }
    }

    fn hand_over(&self, sequence: u64, event: Outgoing, underway: [Underway; 2], slot: OwnedSemaphorePermit) {
        let consume = self.consume.clone();
        let incoming = Incoming {
            name: event.name.into(),
            payload: event.payload,
            envelope: event.envelope,
            received: Instant::now(),
            position: Some(Position { epoch: 1, sequence }),
        };
        // Handed over here and not in the task: the order of the calls is the order of the stream.
        let mut settling = vec![consume.consume(incoming.clone())];
        if self.hub.faults.delivers_twice() {
            settling.push(consume.consume(incoming.clone()));
        }
        let (hub, durable, place) = (self.hub.clone(), self.durable.clone(), self.place.clone());
        tokio::spawn(async move {
            let mut settled = join_all(settling).await;
            if hub.faults.redelivers() {
                settled.push(consume.consume(incoming).await);
            }
            if settled.contains(&Settled::HandBack) {
                place.handed_back.fetch_add(1, Ordering::Relaxed);
                hand_back(&hub, durable.as_deref(), sequence);
            }
            drop((underway, slot));
        });
    }
}

fn hand_back(hub: &Hub, durable: Option<&str>, sequence: u64) {
    let Some(name) = durable else { return };
    lock(&hub.cursors).entry(name.to_owned()).or_default().again.push_back(sequence);
    hub.stored.notify_waiters();
}
