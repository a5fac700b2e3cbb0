use std::time::Duration;

use convoke_core::{BoxFuture, Coordinator, CoordinatorHealth, Fence, Leadership, NotLeader, Tenure};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use super::{Cluster, Inner};
use crate::{StateMachine, engine::life::Phase};

/// How long the engine may take to stop.
const STOP_WITHIN: Duration = Duration::from_secs(5);

impl<M: StateMachine> Cluster<M> {
    /// How the cluster stands, as this node sees it.
    #[must_use]
    pub fn health(&self) -> CoordinatorHealth {
        self.inner.health()
    }

    /// Leaves in order: hands leadership over when there is somebody to take it, within
    /// [`leave_timeout`](crate::Config::leave_timeout), then stops. The node stays a member: see
    /// [`remove`](Self::remove).
    pub async fn shutdown(&self) {
        self.inner.stop(Instant::now() + self.inner.config.leave_timeout).await;
    }
}

impl<M: StateMachine> Inner<M> {
    fn health(&self) -> CoordinatorHealth {
        match &*self.phase.borrow() {
            Phase::Running(node) => node.health(),
            Phase::Waiting(what) => CoordinatorHealth::Down(what.clone()),
            Phase::Refused { why, .. } => CoordinatorHealth::Down(why.clone()),
            Phase::Stopped => CoordinatorHealth::Down("this node of the cluster stopped".to_owned()),
        }
    }

    /// Gives leadership away, when this node has it and somebody can take it.
    async fn resign(&self, deadline: Instant) {
        let Some(node) = self.running().filter(|node| node.leading().term_here().is_some()) else { return };
        match timeout_at(deadline, node.transfer_here(None, deadline)).await {
            Ok(Ok(to)) => tracing::info!(to, "leadership was handed over"),
            Ok(Err(reply)) => tracing::warn!(?reply, "leadership was not handed over"),
            Err(_) => tracing::warn!("leadership was not handed over in time"),
        }
    }

    async fn stop(&self, deadline: Instant) {
        self.resign(deadline).await;
        let node = self.running();
        // Nobody waits any longer for what this node would have done.
        self.phase.send_replace(Phase::Stopped);
        if let Some(node) = node {
            node.close();
            let stopped = tokio::time::timeout(STOP_WITHIN, node.raft().shutdown()).await;
            if stopped.is_err() {
                tracing::warn!("the engine did not stop in time");
            }
        }
        for task in &self.tasks {
            task.abort();
        }
        self.leadership.send_replace(Leadership::NoLeader);
    }
}

impl<M: StateMachine> Coordinator for Cluster<M> {
    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.inner.leadership.subscribe()
    }

    fn confirm(&self, deadline: Instant) -> BoxFuture<'_, Result<Fence, NotLeader>> {
        Box::pin(self.confirm_leadership(deadline))
    }

    fn enter(&self, term: u64) -> Option<Tenure> {
        self.inner.running()?.gate().enter(term).map(Tenure::holding)
    }

    fn health(&self) -> CoordinatorHealth {
        self.inner.health()
    }

    fn resign(&self, deadline: Instant) -> BoxFuture<'_, ()> {
        Box::pin(self.inner.resign(deadline))
    }

    fn shutdown(&self, deadline: Instant) -> BoxFuture<'_, ()> {
        Box::pin(self.inner.stop(deadline))
    }
}
