use std::{
    collections::HashSet,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use futures_util::{FutureExt, future::join_all};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep},
};
use tracing::error;

use super::{
    hub::{Cursor, Hub, Progress, lock},
    letters,
    log::LOG_MAX,
    seat::{Pending, Seat, Underway},
};
use crate::{
    Audience, BoxFuture, Consume, ConsumeSpec, Incoming, LANE_UNKEYED, NodeIdentity, Outgoing, Position,
    Settled,
};

/// How long an event whose handling panicked stays away: it may panic again.
const PANIC_PAUSE: Duration = Duration::from_secs(1);

/// One consumer of one node: reads the log in order, hands over what it wants, takes back what was not settled.
struct Reader {
    hub: Arc<Hub>,
    seat: Arc<Seat>,
    id: u64,
    durable: Option<String>,
    /// Whether it reads the jobs, which are removed when they are settled.
    jobs: bool,
    /// Whether it shares the lanes with the other members of a group.
    in_lanes: bool,
    names: HashSet<&'static str>,
    consume: Arc<dyn Consume>,
    slots: Arc<Semaphore>,
    progress: Arc<Progress>,
    /// The newest event at the start, and those up to it that are in hand.
    until: u64,
    early: Arc<Pending>,
}

/// An event on its way through a consumer.
struct Taken {
    sequence: u64,
    /// The lane it holds while it is in hand.
    lane: Option<u8>,
    event: Outgoing,
    underway: [Option<Underway>; 3],
}

pub(super) fn start(hub: &Arc<Hub>, seat: &Arc<Seat>, spec: ConsumeSpec, consume: Arc<dyn Consume>) {
    letters::start(hub, seat, &spec, &consume);
    let durable = durable(&seat.identity, &spec.audience);
    let jobs = spec.audience == Audience::Jobs;
    let in_lanes = matches!(spec.audience, Audience::Group(_));
    let log = hub.log(jobs);
    let id = hub.reader_id();
    if let Some(name) = &durable {
        // A node sees what is published from its first start on; a group sees everything.
        let next = if spec.audience == Audience::Node { log.last() + 1 } else { 1 };
        let mut cursors = lock(&hub.cursors);
        cursors.entry(name.clone()).or_insert(Cursor { next, ..Cursor::default() }).readers.insert(id);
    }
    let reader = Reader {
        hub: hub.clone(),
        seat: seat.clone(),
        id,
        durable,
        names: spec.names.into_iter().collect(),
        consume,
        slots: Arc::new(Semaphore::new(spec.in_flight_max.clamp(1, LOG_MAX))),
        progress: hub.reader(jobs),
        until: log.last(),
        jobs,
        in_lanes,
        early: Arc::default(),
    };
    tokio::spawn(reader.run());
}

/// Under which name its place is kept; a view has none.
pub(super) fn durable(node: &NodeIdentity, audience: &Audience) -> Option<String> {
    match audience {
        Audience::Node => Some(format!("{}__{}", node.service, node.node)),
        Audience::Group(group) => Some(format!("{}__group__{group}", node.service)),
        Audience::Jobs => Some(format!("{}__jobs", node.service)),
        Audience::View => None,
    }
}

impl Reader {
    async fn run(self) {
        let mut own = Cursor { next: 1, ..Cursor::default() };
        let mut caught_up = false;
        let seat = self.seat.clone();
        let mut left = pin!(seat.left());
        loop {
            let slot = tokio::select! {
                biased;
                () = &mut left => return,
                slot = self.slots.clone().acquire_owned() => slot.expect("the semaphore is never closed"),
            };
            let mut stored = pin!(self.hub.stored.notified());
            stored.as_mut().enable(); // before the look, so that no event is missed
            if let Some(taken) = self.take(&mut own) {
                self.hand_over(taken, slot);
                continue;
            }
            drop(slot);
            if !caught_up {
                caught_up = true;
                self.tell_caught_up();
            }
            tokio::select! {
                biased;
                () = &mut left => return,
                () = stored => {}
            }
        }
    }

    /// Tells when what was stored at the start is handled. A task, because newer events do not wait for it.
    fn tell_caught_up(&self) {
        let (early, seat, consume) = (self.early.clone(), self.seat.clone(), self.consume.clone());
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = seat.left() => {}
                () = early.rest() => consume.caught_up(),
            }
        });
    }

    /// The next event this consumer wants. Members of a group share the cursor, so each event has one taker.
    fn take(&self, own: &mut Cursor) -> Option<Taken> {
        let mut cursors = lock(&self.hub.cursors);
        let cursor = match &self.durable {
            Some(name) => cursors.entry(name.clone()).or_default(),
            None => own,
        };
        loop {
            if let Some((lane, sequence)) = cursor.lanes.take(self.id, &cursor.readers) {
                match self.hub.log(self.jobs).get(sequence) {
                    Ok((found, event)) if found == sequence => {
                        return Some(self.taken(sequence, event, Some(lane)));
                    }
                    // it was pushed out of the log meanwhile
                    _ => {
                        cursor.lanes.settle(lane, sequence, true);
                    }
                }
                continue;
            }
            let again = cursor.again_for(self.id);
            let (sequence, event) = match self.hub.log(self.jobs).get(again.unwrap_or(cursor.next)) {
                Ok(next) => next,
                Err(last) => {
                    cursor.next = cursor.next.max(last + 1); // beyond what was settled and is gone
                    self.progress.set(last);
                    return None;
                }
            };
            match again {
                None => cursor.next = sequence + 1,
                Some(gone) if gone != sequence => continue, // it was pushed out of the log meanwhile
                Some(_) => {}
            }
            if !self.names.contains(event.name) {
                continue;
            }
            if self.in_lanes && event.lane != LANE_UNKEYED {
                cursor.lanes.wait(event.lane, sequence);
                if cursor.readers.len() > 1 {
                    self.hub.stored.notify_waiters(); // it may be for another member
                }
                continue;
            }
            return Some(self.taken(sequence, event, None));
        }
    }

    fn taken(&self, sequence: u64, event: Outgoing, lane: Option<u8>) -> Taken {
        let early = (sequence <= self.until).then(|| self.early.enter());
        let underway = [Some(self.hub.pending.enter()), Some(self.seat.in_hand.enter()), early];
        Taken { sequence, lane, event, underway }
    }

    fn hand_over(&self, taken: Taken, slot: OwnedSemaphorePermit) {
        let Taken { sequence, lane, event, underway } = taken;
        let incoming = Incoming {
            name: event.name.into(),
            payload: event.payload,
            envelope: event.envelope,
            received: Instant::now(),
            position: Some(Position { epoch: 1, sequence }),
        };
        // Handed over here and not in the task: the order of the calls is the order of the stream.
        let mut settling = vec![begin(&|| self.consume.consume(incoming.clone()))];
        if self.hub.faults.delivers_twice() {
            settling.push(begin(&|| self.consume.consume(incoming.clone())));
        }
        let (hub, seat, durable, id) = (self.hub.clone(), self.seat.clone(), self.durable.clone(), self.id);
        let (consume, jobs) = (self.consume.clone(), self.jobs);
        tokio::spawn(async move {
            let work = async {
                let mut settled = join_all(settling).await;
                if hub.faults.redelivers() {
                    settled.push(begin(&|| consume.consume(incoming.clone())).await);
                }
                if settled.contains(&Settled::HandBack) { Settled::HandBack } else { Settled::Done }
            };
            let settled = seat.unless_cut(work).await;
            if let Some(settled) = settled {
                seat.count(settled);
            }
            if let (Some(lane), Some(name)) = (lane, &durable) {
                let mut cursors = lock(&hub.cursors);
                let done = settled == Some(Settled::Done);
                if cursors.entry(name.clone()).or_default().lanes.settle(lane, sequence, done) {
                    hub.stored.notify_waiters(); // the lane is free for another member
                }
            } else if settled == Some(Settled::Done) && jobs {
                hub.jobs.remove(sequence);
            } else if settled != Some(Settled::Done)
                && let Some(name) = durable
            {
                lock(&hub.cursors).entry(name).or_default().again.insert(sequence, id);
                hub.stored.notify_waiters();
            }
            drop((underway, slot));
        });
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(name) = &self.durable {
            lock(&self.hub.cursors).entry(name.clone()).or_default().readers.remove(&self.id);
            self.hub.stored.notify_waiters(); // what it handed back may be for the last one that is left
        }
    }
}

/// Hands an event over now. A panic is no settlement: the event comes again.
pub(super) fn begin(
    consume: &dyn Fn() -> BoxFuture<'static, Settled>,
) -> impl Future<Output = Settled> + Send + use<> {
    let run = catch_unwind(AssertUnwindSafe(consume));
    async move {
        let settled = match run {
            Ok(run) => AssertUnwindSafe(run).catch_unwind().await,
            Err(panic) => Err(panic),
        };
        if let Ok(settled) = settled {
            return settled;
        }
        error!("an event was not settled and is delivered again: its consumer panicked");
        sleep(PANIC_PAUSE).await;
        Settled::HandBack
    }
}
