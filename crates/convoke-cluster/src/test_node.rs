//! A cluster of one in this process, to test clients against: with paused time, and with faults on demand.

use std::sync::{Arc, Mutex, RwLock, Weak};

use convoke_core::BoxFuture;
use tokio::time::{Duration, Instant, sleep, sleep_until, timeout_at};
use uuid::Uuid;

use crate::engine::runtime::watch;
use crate::{
    Consistency, Error, StateMachine,
    engine::types::{Applied, Op, Origin, Proposal},
    propose::Propose,
    replicated::{Shared, System},
};

/// The time of the log when a test begins.
const EPOCH_MS: u64 = 1_000_000_000;

/// What is wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Fault {
    #[default]
    None,
    /// There is no leader: proposals and barriers wait for one.
    NoLeader,
    /// What is proposed is applied, and nobody hears of it.
    AnswersLost,
    /// What is proposed is applied at once and answered a second later.
    Slow,
    /// Each proposal comes twice, under the same origin, and the second answer is told.
    Twice,
    /// Every answer is that the origin is too old.
    Forgets,
    /// Nothing is ever answered, not even when the deadline comes.
    Hangs,
}

pub(crate) struct TestNode<M> {
    state: Shared<M>,
    applied: watch::Sender<u64>,
    fault: tokio::sync::watch::Sender<Fault>,
    begun: Instant,
    client: Uuid,
    log: Mutex<Log>,
}

struct Log {
    index: u64,
    term: u64,
    sequence: u64,
    /// So far ahead of ours is the leader's clock.
    ahead_ms: i64,
}

impl<M: StateMachine> TestNode<M> {
    pub(crate) fn start(machine: M) -> Arc<Self> {
        let node = Arc::new(Self {
            state: Arc::new(RwLock::new(System::new(machine))),
            applied: watch::Sender::new(0),
            fault: tokio::sync::watch::Sender::new(Fault::None),
            begun: Instant::now(),
            client: Uuid::now_v7(),
            log: Mutex::new(Log { index: 0, term: 1, sequence: 0, ahead_ms: 0 }),
        });
        tokio::spawn(Self::tick(Arc::downgrade(&node)));
        node
    }

    pub(crate) fn state(&self) -> &Shared<M> {
        &self.state
    }

    pub(crate) fn fault(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    /// Entries in the log.
    pub(crate) fn index(&self) -> u64 {
        self.log.lock().unwrap().index
    }

    /// Another leader, whose clock is so far ahead of the test's.
    pub(crate) fn new_leader(&self, ahead_ms: i64) {
        let mut log = self.log.lock().unwrap();
        (log.term, log.ahead_ms) = (log.term + 1, ahead_ms);
        drop(log);
        self.fault.send_modify(|_| {});
    }

    /// The clock of the leader was set.
    pub(crate) fn set_clock(&self, ahead_ms: i64) {
        self.log.lock().unwrap().ahead_ms = ahead_ms;
    }

    fn leader_clock_ms(&self, log: &Log) -> u64 {
        (EPOCH_MS + self.begun.elapsed().as_millis() as u64).saturating_add_signed(log.ahead_ms)
    }

    fn apply(&self, origin: Option<Origin>, op: Op) -> Applied {
        let mut log = self.log.lock().unwrap();
        log.index += 1;
        let time_ms = self.leader_clock_ms(&log);
        let applied =
            self.state.write().unwrap().apply(log.index, log.term, Proposal { time_ms, origin, op });
        self.applied.send_replace(log.index);
        applied
    }

    /// What the leader does: lets leases and lifetimes end when they are due.
    async fn tick(node: Weak<Self>) {
        let Some((mut applied, mut fault)) =
            node.upgrade().map(|node| (node.applied.subscribe(), node.fault.subscribe()))
        else {
            return;
        };
        loop {
            applied.mark_unchanged();
            let Some(wait) = node.upgrade().map(|node| node.until_tick()) else { return };
            tokio::select! {
                () = sleep(wait) => match node.upgrade() {
                    Some(node) => drop(node.apply(None, Op::Tick)),
                    None => return,
                },
                changed = applied.changed() => if changed.is_err() { return },
                changed = fault.changed() => if changed.is_err() { return },
            }
        }
    }

    fn until_tick(&self) -> Duration {
        let log = self.log.lock().unwrap();
        match self.state.read().unwrap().next_expiry_ms(log.term) {
            Some(due) if *self.fault.borrow() != Fault::NoLeader => {
                Duration::from_millis(due.saturating_sub(self.leader_clock_ms(&log)))
            }
            _ => Duration::from_secs(86_400),
        }
    }

    fn origin(&self) -> Origin {
        let mut log = self.log.lock().unwrap();
        log.sequence += 1;
        Origin { client: self.client, sequence: log.sequence, answered_below: 0, born: 0 }
    }

    async fn leader(&self, deadline: Instant) -> Result<Fault, Error> {
        let mut fault = self.fault.subscribe();
        let led = timeout_at(deadline, fault.wait_for(|fault| *fault != Fault::NoLeader)).await;
        led.map(|fault| *fault.unwrap()).map_err(|_| Error::no_leader())
    }
}

impl<M: StateMachine> Propose for TestNode<M> {
    fn propose(&self, op: Op, deadline: Instant) -> BoxFuture<'_, Result<Applied, Error>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            let fault = self.leader(deadline).await?;
            let origin = Some(self.origin());
            let first = self.apply(origin, op.clone());
            match fault {
                Fault::AnswersLost => {
                    sleep_until(deadline).await;
                    Err(Error::timed_out())
                }
                Fault::Slow => {
                    sleep(Duration::from_secs(1)).await;
                    Ok(first)
                }
                Fault::Twice => Ok(self.apply(origin, op)),
                Fault::Forgets => Ok(Applied { forgotten: true, ..first }),
                Fault::Hangs => std::future::pending().await,
                Fault::None | Fault::NoLeader => Ok(first),
            }
        })
    }

    fn barrier(&self, consistency: Consistency, deadline: Instant) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            match consistency {
                Consistency::Eventual => Ok(()),
                _ if *self.fault.borrow() == Fault::Hangs => std::future::pending().await,
                _ => self.leader(deadline).await.map(drop),
            }
        })
    }

    fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }
}
