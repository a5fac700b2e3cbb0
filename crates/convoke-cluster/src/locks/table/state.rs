use imbl::Vector;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Answer, Refusal};
use crate::At;

/// One lock.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct State {
    pub(super) holder: Option<Holder>,
    pub(super) queue: Vector<Lease>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Holder {
    pub(super) fence: u64,
    pub(super) lease: Lease,
}

/// A place, in the queue or at its end, that its owner keeps by asking again in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lease {
    pub(super) owner: Uuid,
    pub(super) ttl_ms: u64,
    pub(super) ends_ms: u64,
}

/// What an owner has of a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Holds,
    Waits,
    Absent,
}

impl State {
    pub(super) fn is_free(&self) -> bool {
        self.holder.is_none()
    }

    pub(super) fn due(&self) -> Option<u64> {
        self.holder.map(|holder| holder.lease.ends_ms)
    }

    pub(super) fn standing(&self, owner: Uuid) -> Standing {
        if self.is_held_by(owner) {
            Standing::Holds
        } else if self.queue.iter().any(|lease| lease.owner == owner) {
            Standing::Waits
        } else {
            Standing::Absent
        }
    }

    /// Takes the lock from a holder whose lease is over, and gives it to the first in the queue who still waits.
    pub(super) fn end_lease(&mut self, at: At) {
        if self.holder.is_some_and(|holder| holder.lease.is_over(at)) {
            self.grant_next(at);
        }
    }

    pub(super) fn acquire(
        &mut self,
        at: At,
        owner: Uuid,
        ttl_ms: u64,
        wait: bool,
        waiters_max: usize,
    ) -> Answer {
        let lease = Lease { owner, ttl_ms, ends_ms: at.steady_ms.saturating_add(ttl_ms) };
        match &mut self.holder {
            None => {
                self.holder = Some(Holder { fence: at.index, lease });
                Answer::Granted { fence: at.index }
            }
            Some(holder) if holder.lease.owner == owner => {
                holder.lease = lease;
                Answer::Granted { fence: holder.fence }
            }
            Some(_) if wait => self.enqueue(at, lease, waiters_max),
            Some(_) => Answer::Held,
        }
    }

    pub(super) fn renew(&mut self, at: At, owner: Uuid, fence: u64) -> Answer {
        match &mut self.holder {
            Some(holder) if holder.lease.owner == owner && holder.fence == fence => {
                holder.lease.ends_ms = at.steady_ms.saturating_add(holder.lease.ttl_ms);
                Answer::Granted { fence }
            }
            _ => Answer::Lost,
        }
    }

    pub(super) fn release(&mut self, at: At, owner: Uuid) -> Answer {
        if self.is_held_by(owner) {
            self.grant_next(at);
            return Answer::Released { was_there: true };
        }
        let before = self.queue.len();
        self.queue.retain(|lease| lease.owner != owner);
        Answer::Released { was_there: self.queue.len() < before }
    }

    fn is_held_by(&self, owner: Uuid) -> bool {
        self.holder.is_some_and(|holder| holder.lease.owner == owner)
    }

    /// The lease of the next holder starts now, however long ago it asked.
    fn grant_next(&mut self, at: At) {
        self.queue.retain(|waiting| !waiting.is_over(at));
        self.holder = self.queue.pop_front().map(|next| {
            let lease = Lease { ends_ms: at.steady_ms.saturating_add(next.ttl_ms), ..next };
            Holder { fence: at.index, lease }
        });
    }

    fn enqueue(&mut self, at: At, lease: Lease, waiters_max: usize) -> Answer {
        // Who died waiting takes nobody's place.
        self.queue.retain(|waiting| !waiting.is_over(at));
        let ahead = match self.queue.iter().position(|waiting| waiting.owner == lease.owner) {
            Some(place) => {
                self.queue.set(place, lease);
                place
            }
            None if self.queue.len() >= waiters_max => return Answer::Refused(Refusal::TooManyWaiters),
            None => {
                self.queue.push_back(lease);
                self.queue.len() - 1
            }
        };
        Answer::Queued { ahead: u32::try_from(ahead).unwrap_or(u32::MAX) }
    }
}

impl Lease {
    fn is_over(&self, at: At) -> bool {
        self.ends_ms <= at.steady_ms
    }
}
