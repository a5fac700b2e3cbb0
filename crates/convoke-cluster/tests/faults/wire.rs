//! What a test asks a node's process, as lines of JSON each way.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Question {
    pub(crate) ask: Ask,
    pub(crate) within_ms: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// By the leader's lease, or else linearizable.
    Read {
        key: String,
        lease: bool,
    },
    Write {
        key: String,
        value: u64,
    },
    /// When the key has this version; without one, when there is no such key.
    Swap {
        key: String,
        version: Option<u64>,
        to: u64,
    },
    /// A write of so many bytes.
    Fill {
        bytes: usize,
    },
    /// A lock that is given back when the connection ends.
    Acquire {
        lock: String,
        ttl_ms: u64,
    },
    /// Is the lock with this fence still held?
    Holds {
        fence: u64,
    },
    Release {
        fence: u64,
    },
    Standing,
    Transfer {
        to: Option<u64>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Said {
    Value {
        value: u64,
        version: u64,
    },
    Nothing,
    Done,
    Differs,
    Granted {
        fence: u64,
    },
    Busy,
    Lost,
    Standing(Standing),
    /// Certainly not done, now or later, and why.
    Refused(String),
    /// Nobody knows whether it was done, and why.
    Unknown(String),
}

/// How a node sees itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Standing {
    pub(crate) leads: bool,
    /// The latest term it knows.
    pub(crate) term: u64,
    pub(crate) applied: u64,
    /// Why it is down, if it is.
    pub(crate) down: Option<String>,
}
