use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{Member, NodeId};

openraft::declare_raft_types!(
    /// What openraft is told about us. One leader per term: the term is a fence.
    pub(crate) Types:
        D = Proposal,
        R = Applied,
        NodeId = NodeId,
        Node = Member,
        Term = u64,
        LeaderId = openraft::impls::leader_id_std::LeaderId<Self::Term, Self::NodeId>,
        AsyncRuntime = super::runtime::Runtime,
);

/// What goes into the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Proposal {
    /// The leader's wall clock, milliseconds since 1970.
    pub(crate) time_ms: u64,
    /// Whose proposal this is, so that one that comes twice is applied once.
    pub(crate) origin: Option<Origin>,
    pub(crate) op: Op,
}

/// A client's name for one of its proposals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Origin {
    pub(crate) client: uuid::Uuid,
    /// Grows with every proposal of the client.
    pub(crate) sequence: u64,
    /// Everything below was answered: the client will not ask for it again.
    pub(crate) answered_below: u64,
    /// What was applied on its node when the client began. Tells a new client from one that was dropped from the
    /// sessions.
    pub(crate) born: u64,
}

/// What a proposal does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Op {
    /// Only the clock moves on.
    Tick,
    /// A command of the application's state machine.
    Machine(Bytes),
    /// A command of the locks, encoded.
    Lock(Bytes),
}

/// What a proposal came to, and where it stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Applied {
    pub(crate) index: u64,
    pub(crate) term: u64,
    /// The state machine's answer, or the locks'.
    pub(crate) answer: Bytes,
    /// The origin is too old for its answer to be known: it was not applied now, and may have been before.
    pub(crate) forgotten: bool,
}

impl std::fmt::Display for Proposal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (what, len) = match &self.op {
            Op::Tick => ("tick", 0),
            Op::Machine(command) => ("machine", command.len()),
            Op::Lock(command) => ("lock", command.len()),
        };
        write!(f, "{what} of {len} bytes")
    }
}
