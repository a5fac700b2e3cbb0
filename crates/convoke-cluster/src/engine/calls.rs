//! What one member asks another on behalf of its clients. The wire carries it, the node answers it.

use convoke_core::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use uuid::Uuid;

use super::types::{Applied, Op, Origin};
use crate::{Error, ErrorKind, Member, NodeId};

/// A question. Only the leader answers it, except for [`Ask::Leader`] and [`Ask::Seat`]: whoever does not lead says so,
/// and never passes it on, so that there is one hop at most.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// Who leads, as far as you know? Answered with [`Reply::Leader`].
    Leader,
    /// Append this, and answer with [`Reply::Applied`].
    Propose { origin: Origin, op: Op },
    /// How far must a copy have applied for a read that begins now? Answered with [`Reply::ReadIndex`].
    ReadIndex { lease: bool },
    /// Change who is a member. Answered with [`Reply::Changed`].
    Change(Change),
    /// Under which number was the node that listens here added? Answered with [`Reply::Seat`].
    Seat { name: String, raft: String },
}

/// A change of who is a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Change {
    /// A new member, which follows and does not vote.
    AddLearner(Member),
    /// This member's state is on this disk, for good.
    Settle { id: NodeId, disk: Uuid },
    /// It votes from now on.
    Promote(NodeId),
    /// It is no longer a member.
    Remove(NodeId),
    /// A learner takes the place of a voter.
    Replace { old: NodeId, new: NodeId },
    /// Another member leads.
    Transfer { to: Option<NodeId> },
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// `founded` is false while the one who answers has no state at all.
    Leader {
        leader: Option<NodeId>,
        founded: bool,
    },
    Applied(Applied),
    ReadIndex(u64),
    /// The node that was added, or that leads now.
    Changed(NodeId),
    /// Nobody was added there, when it is `None`.
    Seat(Option<Seat>),
    /// I do not lead, and nothing was done. This one does, as far as I know.
    NotLeader(Option<NodeId>),
    /// What was asked for failed.
    Failed {
        kind: ErrorKind,
        message: String,
    },
}

/// The place of a node in its cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seat {
    pub(crate) id: NodeId,
    /// Everybody, to know where to connect.
    pub(crate) members: Vec<(NodeId, Member)>,
}

/// The node behind the listener.
pub(crate) trait Answer: Send + Sync + 'static {
    /// Answers before the deadline, which the asker set.
    fn answer(&self, ask: Ask, deadline: Instant) -> BoxFuture<'_, Reply>;
}

/// The wire to other members.
pub(crate) trait Reach: Send + Sync + 'static {
    /// Asks the node that listens at `raft` (`host:port`). `id` is who must be there; `None` while the asker does not
    /// know it, which only [`Ask::Leader`] and [`Ask::Seat`] may.
    ///
    /// # Errors
    /// An error whose [`executed`](Error::executed) is `No` when nothing was sent (`Unavailable`), and `Unknown`
    /// (`TimedOut`) when it was sent and no answer came before the deadline or before the connection broke.
    fn ask<'a>(
        &'a self,
        id: Option<NodeId>,
        raft: &'a str,
        ask: Ask,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Reply, Error>>;
}
