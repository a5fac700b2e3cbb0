use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use convoke_core::{BoxFuture, Consume, Incoming, Replay, Settled};
use tokio::{
    sync::oneshot::{self, error::TryRecvError},
    time::sleep,
};

use super::{
    Plan,
    plan::{Again, Arrival},
};

/// A consumer as a bus with faults reaches it.
pub(crate) struct Deliveries {
    inner: Arc<dyn Consume>,
    plan: Arc<Plan>,
    /// Whether all of it is one line: a view.
    in_order: bool,
    /// Of each lane, what the handing over of its last delivery will wake.
    tails: Mutex<HashMap<u8, oneshot::Receiver<()>>>,
}

/// A place in the order of a lane. Its drop lets the next one be handed over.
struct Place {
    before: Option<oneshot::Receiver<()>>,
    handed_over: Option<oneshot::Sender<()>>,
}

impl Deliveries {
    pub(crate) fn new(inner: Arc<dyn Consume>, plan: Arc<Plan>, in_order: bool) -> Self {
        Self { inner, plan, in_order, tails: Mutex::default() }
    }

    fn place(&self, incoming: &Incoming) -> Place {
        let lane = match (self.in_order, self.plan.keeps_keys()) {
            (true, _) => Some(0),
            (false, true) => self.plan.lane(incoming.envelope.id()),
            (false, false) => None,
        };
        let Some(lane) = lane else { return Place { before: None, handed_over: None } };
        let (handed_over, wakes) = oneshot::channel();
        let mut tails = self.tails.lock().unwrap_or_else(PoisonError::into_inner);
        let before = tails.insert(lane, wakes).and_then(|mut before| {
            let is_waiting = matches!(before.try_recv(), Err(TryRecvError::Empty));
            is_waiting.then_some(before)
        });
        Place { before, handed_over: Some(handed_over) }
    }
}

impl Consume for Deliveries {
    fn consume(&self, incoming: Incoming) -> BoxFuture<'static, Settled> {
        let Arrival { hold, again } = self.plan.arrival(&incoming.name);
        let Place { before, handed_over } = self.place(&incoming);
        let inner = self.inner.clone();
        if before.is_none() && hold.is_zero() {
            return hand_over(inner, incoming, again); // now: the order of the calls is the order of the stream
        }
        Box::pin(async move {
            if let Some(before) = before {
                let _ = before.await; // dropped is handed over, too
            }
            sleep(hold).await;
            let settling = hand_over(inner, incoming, again);
            drop(handed_over);
            settling.await
        })
    }

    fn replay(&self, incoming: Incoming, replay: Replay) -> BoxFuture<'static, Settled> {
        self.inner.replay(incoming, replay)
    }

    fn caught_up(&self) {
        self.inner.caught_up();
    }
}

fn hand_over(
    inner: Arc<dyn Consume>,
    incoming: Incoming,
    again: Option<Again>,
) -> BoxFuture<'static, Settled> {
    let first = inner.consume(incoming.clone());
    match again {
        None => first,
        Some(Again::AtOnce) => {
            let second = inner.consume(incoming);
            Box::pin(async move {
                let (first, second) = tokio::join!(first, second);
                if first == Settled::Done { second } else { first }
            })
        }
        Some(Again::WhenSettled) => Box::pin(async move {
            let settled = first.await;
            if settled == Settled::Done { inner.consume(incoming).await } else { settled }
        }),
    }
}
