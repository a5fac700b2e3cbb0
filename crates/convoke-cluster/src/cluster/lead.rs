use std::time::Duration;

use convoke_core::{Fence, LeaderInfo, Leadership, NotLeader};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use super::Cluster;
use crate::{StateMachine, engine::leading::Leading};

impl<M: StateMachine> Cluster<M> {
    /// Who leads, now and from now on. Turns away from `Leader` before another node can lead.
    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.inner.leadership.subscribe()
    }

    /// Whether this node leads. Not a check: by the time it is looked at another one may lead. Use
    /// [`run_if_leader`](Self::run_if_leader) for what only the leader may do.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.inner.leadership.borrow().is_leader()
    }

    /// Who leads, this node or another one, and where it is reached.
    #[must_use]
    pub fn leader(&self) -> Option<LeaderInfo> {
        let node = self.inner.running()?;
        match node.leading() {
            Leading::Here { term } => {
                let mine = node.members().into_iter().find(|(id, ..)| *id == node.id());
                mine.map(|(_, member, _)| LeaderInfo { node: member.name, http: member.http, term })
            }
            _ => node.leader_info(),
        }
    }

    /// Waits until this node leads.
    ///
    /// # Errors
    /// When it does not within this time, and who does.
    pub async fn wait_for_leadership(&self, timeout: Duration) -> Result<Fence, NotLeader> {
        let deadline = Instant::now() + timeout;
        let mut leadership = self.leadership();
        loop {
            let led = async { leadership.wait_for(Leadership::is_leader).await.is_ok() };
            if !timeout_at(deadline, led).await.unwrap_or(false) {
                return Err(self.not_leader());
            }
            if let Ok(fence) = self.confirm_leadership(deadline).await {
                return Ok(fence);
            }
            // It ended between the two: wait for the next time.
            if !matches!(timeout_at(deadline, leadership.changed()).await, Ok(Ok(()))) {
                return Err(self.not_leader());
            }
        }
    }

    /// Waits until there is a leader, here or elsewhere.
    ///
    /// # Errors
    /// When there is none within this time.
    pub async fn wait_for_leader(&self, timeout: Duration) -> Result<LeaderInfo, NotLeader> {
        let mut leadership = self.leadership();
        let found = async {
            loop {
                let known = *leadership.borrow_and_update() != Leadership::NoLeader;
                if let Some(leader) = self.leader().filter(|_| known) {
                    return Some(leader);
                }
                leadership.changed().await.ok()?;
            }
        };
        let found = tokio::time::timeout(timeout, found).await;
        found.ok().flatten().ok_or_else(NotLeader::default)
    }

    /// Confirms, by a majority or by a lease that has not ended, that this node leads after the call was made.
    ///
    /// # Errors
    /// When it does not, or that could not be confirmed before the deadline.
    pub async fn confirm_leadership(&self, deadline: Instant) -> Result<Fence, NotLeader> {
        let node = self.inner.node(deadline).await.map_err(|_| NotLeader::default())?;
        tokio::select! {
            biased;
            fence = node.confirm(deadline) => fence,
            _ = self.inner.ended() => Err(NotLeader::default()),
        }
    }

    /// Runs this while this node leads: only when leadership was confirmed first, and no longer than it lasts. When
    /// leadership ends, or its lease by this node's own clock, the body is dropped at its next await, before another
    /// node can lead.
    ///
    /// The [`Fence`] grows with each leader. A process that was stopped for a while may run some instructions before it
    /// notices: whatever the body writes elsewhere should carry the fence, and be refused behind a greater one.
    ///
    /// # Errors
    /// When this node does not lead, or no longer: then the body was cut short.
    pub async fn run_if_leader<T>(&self, body: impl AsyncFnOnce(Fence) -> T) -> Result<T, NotLeader> {
        let deadline = Instant::now() + self.inner.config.forward_timeout;
        let node = self.inner.node(deadline).await.map_err(|_| NotLeader::default())?;
        let fence = self.confirm_leadership(deadline).await?;
        let Some(_inside) = node.gate().enter(fence.term) else { return Err(self.not_leader()) };
        tokio::select! {
            biased;
            () = node.lost(fence.term) => Err(self.not_leader()),
            _ = self.inner.ended() => Err(NotLeader::default()),
            value = body(fence) => Ok(value),
        }
    }

    fn not_leader(&self) -> NotLeader {
        NotLeader { leader: self.inner.running().and_then(|node| node.leader_info()) }
    }
}
