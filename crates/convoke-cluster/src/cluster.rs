mod clients;
mod coordinate;
mod lead;
mod manage;
mod measure;
#[cfg(test)]
pub(crate) mod simulated;
mod start;

use std::{net::SocketAddr, sync::Arc};

use convoke_core::{BoxFuture, Leadership};
use tokio::{
    task::AbortHandle,
    time::{Instant, timeout_at},
};

use crate::engine::runtime::watch;
use crate::{
    Config, Consistency, Error, NodeId, StateMachine,
    engine::{
        life::Phase,
        net::Server,
        node::Node,
        types::{Applied, Op},
    },
    propose::Propose,
    replicated::Shared,
};

use measure::Gauges;

pub use manage::{MemberInfo, Role};

/// A node of a cluster, within this process. Clones are the same node; it ends with the last of them.
///
/// It finds its place in the background: whatever needs a leader waits for one until its deadline.
pub struct Cluster<M: StateMachine = crate::kv::Machine> {
    inner: Arc<Inner<M>>,
}

struct Inner<M: StateMachine> {
    config: Config,
    /// Where this node is heard.
    listens: Option<SocketAddr>,
    phase: watch::Sender<Phase<M>>,
    leadership: tokio::sync::watch::Sender<Leadership>,
    applied: watch::Receiver<u64>,
    system: Shared<M>,
    server: Server,
    gauges: Gauges,
    tasks: Vec<AbortHandle>,
}

impl<M: StateMachine> Cluster<M> {
    /// This node's number, once it has its place.
    #[must_use]
    pub fn node_id(&self) -> Option<NodeId> {
        self.inner.running().map(|node| node.id())
    }

    /// Where this node is heard by other members. A port that was asked for as 0 is known here.
    #[must_use]
    pub fn listens(&self) -> Option<SocketAddr> {
        self.inner.listens
    }

    /// Reads this node's copy of the state, as it is: see [`barrier`](Self::barrier) for one that is fresh. Commands wait
    /// meanwhile, so be quick.
    pub fn read<T>(&self, read: impl FnOnce(&M) -> T) -> T {
        read(self.inner.system.read().unwrap_or_else(std::sync::PoisonError::into_inner).machine())
    }

    /// After this, [`read`](Self::read) is of this consistency.
    ///
    /// # Errors
    /// When no leader confirmed it before the deadline.
    pub async fn barrier(&self, consistency: Consistency, deadline: Instant) -> Result<(), Error> {
        Propose::barrier(&*self.inner, consistency, deadline).await
    }

    /// Applies a command to the state machine, once, on all members, and says what it answered here or at the leader.
    /// Works on every node: a follower takes it to the leader.
    ///
    /// # Errors
    /// By the deadline; [`Error::executed`] says whether it may have been applied.
    pub async fn propose(
        &self,
        command: impl Into<bytes::Bytes>,
        deadline: Instant,
    ) -> Result<bytes::Bytes, Error> {
        let applied = Propose::propose(&*self.inner, Op::Machine(command.into()), deadline).await?;
        Ok(applied.answer)
    }

    /// The index of what was applied on this node last. Grows with each command.
    #[must_use]
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.inner.applied.clone()
    }
}

impl<M: StateMachine> Inner<M> {
    /// The node, when it has its place and still runs.
    fn running(&self) -> Option<Arc<Node<M>>> {
        if let Phase::Running(node) = &*self.phase.borrow() { Some(Arc::clone(node)) } else { None }
    }

    /// The node, as soon as it has its place.
    async fn node(&self, deadline: Instant) -> Result<Arc<Node<M>>, Error> {
        let mut phase = self.phase.subscribe();
        let settled = phase.wait_for(|phase| !matches!(phase, Phase::Waiting(_)));
        match timeout_at(deadline, settled).await {
            Ok(Ok(phase)) => phase.node(),
            Ok(Err(_)) => Err(Error::stopped()),
            Err(_) => self.phase.borrow().node(),
        }
    }

    /// Returns when this node will never do anything again.
    async fn ended(&self) -> Error {
        let mut phase = self.phase.subscribe();
        let ended = phase.wait_for(|phase| matches!(phase, Phase::Stopped | Phase::Refused { .. })).await;
        match ended {
            Ok(phase) => phase.node().err().unwrap_or_else(Error::stopped),
            Err(_) => Error::stopped(),
        }
    }

    /// Does this on the node, as long as there is one.
    async fn on_node<T>(
        &self,
        deadline: Instant,
        work: impl AsyncFnOnce(&Node<M>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let node = self.node(deadline).await?;
        tokio::select! {
            biased;
            done = work(&node) => done,
            // What was under way may have been done, whatever ended this node.
            ended = self.ended() => Err(Error::new(crate::ErrorKind::Stopped, ended.to_string())),
        }
    }
}

impl<M: StateMachine> Phase<M> {
    fn node(&self) -> Result<Arc<Node<M>>, Error> {
        match self {
            Self::Running(node) => Ok(Arc::clone(node)),
            Self::Waiting(what) => Err(Error::new(crate::ErrorKind::NoLeader, what.clone())),
            Self::Refused { kind, why } => Err(Error::new(*kind, why.clone())),
            Self::Stopped => Err(Error::stopped()),
        }
    }
}

impl<M: StateMachine> Propose for Inner<M> {
    fn propose(&self, op: Op, deadline: Instant) -> BoxFuture<'_, Result<Applied, Error>> {
        Box::pin(self.on_node(deadline, async move |node| node.propose(op, deadline).await))
    }

    fn barrier(&self, consistency: Consistency, deadline: Instant) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.on_node(deadline, async move |node| node.barrier(consistency, deadline).await))
    }

    fn applied(&self) -> watch::Receiver<u64> {
        self.applied.clone()
    }
}

impl<M: StateMachine> Drop for Inner<M> {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        // The engine's own tasks hold each other, and end only when they are told to.
        if let Some(node) = self.running()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move { node.raft().shutdown().await });
        }
        self.phase.send_replace(Phase::Stopped);
    }
}

impl<M: StateMachine> Clone for Cluster<M> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<M: StateMachine> std::fmt::Debug for Cluster<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("id", &self.node_id()).field("listens", &self.inner.listens).finish()
    }
}
