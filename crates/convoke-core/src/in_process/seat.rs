use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout_at},
};

use crate::{LeaveReport, NodeIdentity, Settled};

/// A node's place on a bus: whether it goes, and what it has in hand.
pub(super) struct Seat {
    pub(super) identity: NodeIdentity,
    stage: watch::Sender<Stage>,
    pub(super) in_hand: Pending,
    finished: AtomicU64,
    handed_back: AtomicU64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Here,
    /// It takes nothing more.
    Leaving,
    /// What it still has in hand is cut off.
    Cut,
}

impl Seat {
    pub(super) fn new(identity: NodeIdentity) -> Self {
        let stage = watch::Sender::new(Stage::Here);
        let (finished, handed_back) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { identity, stage, in_hand: Pending::default(), finished, handed_back }
    }

    pub(super) fn is_here(&self) -> bool {
        *self.stage.borrow() == Stage::Here
    }

    pub(super) fn leave(&self) {
        self.advance(Stage::Leaving);
    }

    pub(super) fn cut(&self) {
        self.advance(Stage::Cut);
    }

    fn advance(&self, to: Stage) {
        self.stage.send_if_modified(|stage| std::mem::replace(stage, to.max(*stage)) < to);
    }

    /// Returns when the node takes nothing more.
    pub(super) async fn left(&self) {
        self.reached(Stage::Leaving).await;
    }

    /// What becomes of the work, or `None` when it is cut off.
    pub(super) async fn unless_cut<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = work => Some(done),
            () = self.reached(Stage::Cut) => None,
        }
    }

    async fn reached(&self, wanted: Stage) {
        let mut stage = self.stage.subscribe();
        let _ = stage.wait_for(|stage| *stage >= wanted).await; // the sender lives as long as `self`
    }

    pub(super) fn count(&self, settled: Settled) {
        let counter = if settled == Settled::Done { &self.finished } else { &self.handed_back };
        counter.fetch_add(1, Ordering::SeqCst);
    }

    /// Waits for what is in hand, and cuts off what is not done by the deadline.
    pub(super) async fn finish(&self, deadline: Instant) -> LeaveReport {
        let counts = || (self.finished.load(Ordering::SeqCst), self.handed_back.load(Ordering::SeqCst));
        let before = counts();
        let _ = timeout_at(deadline, self.in_hand.rest()).await; // what is left is counted as lost
        let (lost, after) = (self.in_hand.count(), counts());
        self.cut();
        LeaveReport {
            finished: after.0 - before.0,
            handed_back: after.1 - before.1,
            lost: lost as u64,
            waiting: 0,
        }
    }
}

/// What is under way: requests, and events that a consumer has not settled.
#[derive(Default)]
pub(super) struct Pending(Arc<Counter>);

#[derive(Default)]
struct Counter {
    count: AtomicUsize,
    rest: Notify,
}

/// One thing under way; its drop is its end.
pub(super) struct Underway(Arc<Counter>);

impl Pending {
    pub(super) fn enter(&self) -> Underway {
        self.0.count.fetch_add(1, Ordering::SeqCst);
        Underway(self.0.clone())
    }

    pub(super) fn count(&self) -> usize {
        self.0.count.load(Ordering::SeqCst)
    }

    /// Returns when nothing is under way.
    pub(super) async fn rest(&self) {
        loop {
            let mut rest = pin!(self.0.rest.notified());
            rest.as_mut().enable(); // before the look, so that no end is missed
            if self.count() == 0 {
                return;
            }
            rest.await;
        }
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.rest.notify_waiters();
        }
    }
}
