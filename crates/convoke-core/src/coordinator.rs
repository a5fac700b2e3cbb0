//! Who leads: what a cluster tells a node, and what a node asks of it.
mod leadership;

use std::{any::Any, fmt};

use tokio::{sync::watch, time::Instant};

use crate::BoxFuture;

pub use leadership::{Fence, LeaderInfo, Leadership, NotLeader};

/// Tells a node whether it leads. `convoke::cluster::Cluster` is one, by Raft; a test or an application may decide
/// otherwise who leads.
///
/// # Contract
/// - At most one node leads in a term, and a later leader has a greater term.
/// - [`leadership`](Self::leadership) turns away from `Leader` before another node can lead: what runs for the leader
///   is cancelled then, on this node's own clock and without waiting for anybody.
/// - No call waits beyond the deadline it is given.
pub trait Coordinator: Send + Sync + 'static {
    /// Who leads, as this node knows it now and from now on. The sender lives as long as the coordinator.
    fn leadership(&self) -> watch::Receiver<Leadership>;

    /// Confirms, by a majority or by a lease that has not ended, that this node leads after the call was made.
    fn confirm(&self, deadline: Instant) -> BoxFuture<'_, Result<Fence, NotLeader>>;

    /// Lets something begin that runs for the leader in this term. `None` when the term is over on this node. When
    /// leadership is handed over, that waits, within bounds, until all tenures of the term are dropped.
    fn enter(&self, term: u64) -> Option<Tenure> {
        (self.leadership().borrow().term() == Some(term)).then(Tenure::default)
    }

    /// How the cluster stands, as this node sees it. Asks nobody.
    fn health(&self) -> CoordinatorHealth;

    /// Gives leadership to another node, when this one leads and there is one to take it. Called when a node stops,
    /// after everything that ran for the leader has ended and while the node can still forward to its successor.
    fn resign(&self, deadline: Instant) -> BoxFuture<'_, ()> {
        let _ = deadline;
        Box::pin(async {})
    }

    /// Leaves: [`resign`](Self::resign)s if it still leads, then ends. The last thing a stopping node does.
    fn shutdown(&self, deadline: Instant) -> BoxFuture<'_, ()>;
}

/// What something that runs for the leader holds until it ends.
#[derive(Default)]
pub struct Tenure {
    _held: Option<Box<dyn Any + Send + Sync>>,
}

impl Tenure {
    /// One that is over when this is dropped.
    pub fn holding(held: impl Any + Send + Sync) -> Self {
        Self { _held: Some(Box::new(held)) }
    }
}

impl fmt::Debug for Tenure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tenure")
    }
}

/// How a cluster stands, as one node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CoordinatorHealth {
    /// There is a leader, and everybody is there.
    Up,
    /// It works, and somebody should look: what is wrong, as a sentence.
    Degraded(String),
    /// There is no leader, or no majority: what is wrong, as a sentence.
    Down(String),
}
