use std::sync::atomic::Ordering;

use std::time::Duration;

use convoke_core::Leadership;
use openraft::async_runtime::watch::WatchReceiver;
use tokio::time::{Instant, sleep_until};

use super::Node;
use crate::{
    StateMachine,
    engine::leading::{self, Leading, Lease},
};

/// A follower believes in its leader until it has not heard from it for this many leases: by then the others would
/// have elected another one, if they could.
const SILENT_LEASES: u32 = 2;
/// How often a follower looks whether a leader is heard again that it gave up.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Who leads, and how long this may be believed without looking again.
struct Standing {
    leadership: Leadership,
    look_at: Option<Instant>,
    /// This node won an election and no majority has heard from it yet, or not lately.
    unheard: bool,
    /// This node leads in this term, and is handing it over.
    closed: Option<u64>,
}

impl<M: StateMachine> Node<M> {
    /// Keeps the leadership that this node tells up to date. A leader that no majority heard from turns to `NoLeader`
    /// before another one can be elected. Runs until the engine stops.
    pub(crate) async fn tell_leadership(&self) {
        let mut changes = self.raft.server_metrics();
        let mut beats = self.raft.metrics();
        let mut led_by = None;
        loop {
            changes.borrow_and_update();
            beats.borrow_and_update();
            let standing = self.standing();
            let open = standing.leadership.term();
            let leads = self.leading().id(self.id);
            if leads.is_some() && leads != led_by {
                self.leader_changes.fetch_add(1, Ordering::Relaxed);
                led_by = leads;
            }
            self.leadership.send_if_modified(|told| {
                let changed = *told != standing.leadership;
                *told = standing.leadership.clone();
                changed
            });
            let stopped = tokio::select! {
                biased;
                changed = changes.changed() => changed.is_err(),
                changed = beats.changed(), if standing.unheard => changed.is_err(),
                () = sleep_until(standing.look_at.unwrap_or_else(Instant::now)), if standing.look_at.is_some() => false,
                () = self.gate.closed(open.unwrap_or_default()), if open.is_some() => false,
                () = self.gate.reopened(standing.closed.unwrap_or_default()), if standing.closed.is_some() => false,
            };
            if stopped {
                self.leadership.send_replace(Leadership::NoLeader);
                return;
            }
        }
    }

    fn standing(&self) -> Standing {
        let told = |leadership| Standing { leadership, look_at: None, unheard: false, closed: None };
        match self.leading() {
            Leading::Here { term } if !self.gate.is_open(term) => {
                Standing { closed: Some(term), ..told(Leadership::NoLeader) }
            }
            Leading::Here { term } => match self.lease().filter(|lease| lease.term == term) {
                Some(lease) if lease.until > Instant::now() => {
                    Standing { look_at: Some(lease.until), ..told(Leadership::Leader { term }) }
                }
                _ => Standing { unheard: true, ..told(Leadership::NoLeader) },
            },
            Leading::There { .. } => {
                let leader = self.leader_info();
                let until = self.heard.at() + self.config.timing.lease() * SILENT_LEASES;
                match leader {
                    Some(_) if until <= Instant::now() => {
                        let look_at = Some(Instant::now() + LOOK_AGAIN);
                        Standing { look_at, ..told(Leadership::NoLeader) }
                    }
                    Some(leader) => {
                        Standing { look_at: Some(until), ..told(Leadership::Follower { leader }) }
                    }
                    None => told(Leadership::NoLeader),
                }
            }
            Leading::Nobody => told(Leadership::NoLeader),
        }
    }

    pub(crate) fn lease(&self) -> Option<Lease> {
        leading::lease(&self.raft, self.lease_length())
    }

    /// Returns when this node no longer leads in this term, as far as its own clock goes: before another one can.
    pub(crate) async fn lost(&self, term: u64) {
        let mut changes = self.raft.server_metrics();
        loop {
            changes.borrow_and_update();
            let lease = self.lease().filter(|lease| lease.term == term && lease.until > Instant::now());
            let Some(lease) = lease else { return };
            tokio::select! {
                biased;
                changed = changes.changed() => if changed.is_err() { return },
                () = sleep_until(lease.until) => {}
                () = self.gate.closed(term) => return,
            }
        }
    }
}
