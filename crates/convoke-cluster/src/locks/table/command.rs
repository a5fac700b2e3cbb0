use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What is asked of a lock. An owner is one attempt to hold it, not a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Command {
    /// Holds it, or waits for it in the order of first asking. Asked again by the same owner, it renews the lease, or
    /// the place in the queue, which is a lease too.
    Acquire { name: String, owner: Uuid, ttl_ms: u64, wait: bool },
    /// Holds on to it under the fence it was got with.
    Renew { name: String, owner: Uuid, fence: u64 },
    /// Gives it back, or leaves the queue.
    Release { name: String, owner: Uuid },
}

/// What it came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    Granted {
        fence: u64,
    },
    Queued {
        ahead: u32,
    },
    /// Somebody else holds it, and the caller does not wait.
    Held,
    /// The lease that was to be renewed ended before.
    Lost,
    Released {
        was_there: bool,
    },
    Refused(Refusal),
}

/// Why nothing was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Refusal {
    Unreadable,
    Name,
    Ttl,
    TooManyWaiters,
    TooManyLocks,
}

impl Command {
    pub(super) fn name(&self) -> &str {
        let (Self::Acquire { name, .. } | Self::Renew { name, .. } | Self::Release { name, .. }) = self;
        name
    }
}
