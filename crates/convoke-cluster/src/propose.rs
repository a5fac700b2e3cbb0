use convoke_core::BoxFuture;
use tokio::time::Instant;

use crate::engine::runtime::watch;
use crate::{
    Error,
    engine::types::{Applied, Op},
};

/// How fresh a read is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Consistency {
    /// Sees everything that was acknowledged before the read began, on any node. Costs one round to a majority.
    #[default]
    Linearizable,
    /// As [`Linearizable`](Self::Linearizable), without the round while the leader's lease holds. Relies on clocks
    /// that run at about the same speed; when the lease is over, the round is made.
    Lease,
    /// What this node has. May be old, and costs nothing.
    Eventual,
}

/// What the clients (KV, locks) ask of the node they run on.
pub(crate) trait Propose: Send + Sync + 'static {
    /// Applied once, wherever the leader is; forwarded there in one hop. A change of leaders is waited out: the same
    /// proposal is repeated under the same origin until the deadline.
    fn propose(&self, op: Op, deadline: Instant) -> BoxFuture<'_, Result<Applied, Error>>;

    /// After it returns, a read of the local copy is of this consistency. On a follower, `Linearizable` asks the
    /// leader for its read index and waits until that is applied here.
    fn barrier(&self, consistency: Consistency, deadline: Instant) -> BoxFuture<'_, Result<(), Error>>;

    /// The index of what was applied here last. Grows with each entry.
    fn applied(&self) -> watch::Receiver<u64>;
}
