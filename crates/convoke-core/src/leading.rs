//! What a node knows of its cluster, and what it does for the leader.
use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use tracing::warn;

use crate::{
    Answered, ClusterHealth, Coordinator, CoordinatorHealth, Dependency, Failed, Fence, Forwarder,
    LeaderInfo, Leadership, NotLeader, Outgoing, TransportError, node::NodeInner, singleton::Singletons,
};

/// The part of the leaving time that the runs of a leader get before leadership is transferred.
const FINISH_SHARE: u32 = 2;

/// The pause before it is asked again whether something may begin in a term that is about to end.
const ENTER_PAUSE: Duration = Duration::from_millis(20);

/// A node's place in its cluster.
pub(crate) struct Leading {
    coordinator: Arc<dyn Coordinator>,
    forwarder: Arc<dyn Forwarder>,
    forward_timeout: Duration,
    pub(crate) singletons: Singletons,
    /// Whether handlers here are for the leader only.
    needed: bool,
    /// Runs of leader handlers now.
    runs: watch::Sender<usize>,
    /// The node stops: it starts nothing more as the leader.
    closing: watch::Sender<bool>,
}

/// A run for the leader; its drop is its end.
pub(crate) struct LedRun<'a>(&'a watch::Sender<usize>);

impl Drop for LedRun<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|runs| *runs -= 1);
    }
}

impl Leading {
    pub(crate) fn new(
        coordinator: Arc<dyn Coordinator>,
        forwarder: Arc<dyn Forwarder>,
        forward_timeout: Duration,
        singletons: Singletons,
        needed: bool,
    ) -> Self {
        let (runs, closing) = (watch::Sender::new(0), watch::Sender::new(false));
        Self { coordinator, forwarder, forward_timeout, singletons, needed, runs, closing }
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Leadership> {
        self.coordinator.leadership()
    }

    /// Confirms that this node leads in the term it believes in. `Err` when not, or nobody answers in time.
    pub(crate) async fn confirm(&self, term: u64, deadline: Instant) -> Result<Fence, NotLeader> {
        if *self.closing.borrow() {
            return Err(NotLeader::default()); // it is about to give leadership away
        }
        match timeout_at(deadline, self.coordinator.confirm(deadline)).await {
            Ok(Ok(fence)) if fence.term == term => Ok(fence),
            Ok(Ok(_)) | Err(_) => Err(NotLeader::default()),
            Ok(Err(not)) => Err(not),
        }
    }

    /// Counts a run until it is dropped.
    pub(crate) fn run(&self) -> LedRun<'_> {
        self.runs.send_modify(|runs| *runs += 1);
        LedRun(&self.runs)
    }

    /// The output, or `None` when this node leads no more in the term: what was done is then cancelled, and what
    /// it answered at the last moment is not accepted.
    pub(crate) async fn while_leading<T>(&self, term: u64, run: impl Future<Output = T>) -> Option<T> {
        // Dropped after the run, so that leadership is not handed over before the run has ended.
        let Some(_tenure) = self.coordinator.enter(term) else {
            // It is being handed over. Should that fail, the term goes on, and the caller asks again.
            let _ = timeout_at(Instant::now() + ENTER_PAUSE, self.lost(term)).await;
            return None;
        };
        tokio::select! {
            biased;
            () = self.lost(term) => None,
            output = run => self.leads_in(term).then_some(output),
        }
    }

    /// Whether this node still leads in the term, as far as it knows.
    fn leads_in(&self, term: u64) -> bool {
        self.watch().borrow().term() == Some(term)
    }

    /// Waits until this node leads no more in the term.
    pub(crate) async fn lost(&self, term: u64) {
        let _ = self.watch().wait_for(|now| now.term() != Some(term)).await; // gone is lost
    }

    /// Hands a request to the leader. Never longer than the forwarder's own time, nor than the request's.
    pub(crate) async fn forward(
        &self,
        leader: &LeaderInfo,
        mut request: Outgoing,
        deadline: Instant,
    ) -> Result<Answered, TransportError> {
        let now = Instant::now();
        let deadline = deadline.min(now + self.forward_timeout);
        request.envelope.expiry = Some(crate::Expiry::after(deadline.saturating_duration_since(now)));
        let asked = timeout_at(deadline, self.forwarder.forward(leader, request, deadline)).await;
        asked.unwrap_or_else(|_| Err(crate::TransportErrorKind::TimedOut.into()))
    }

    /// Stops what runs for the leader, the singletons first, and gives leadership away.
    pub(crate) async fn step_down(&self, deadline: Instant) {
        self.closing.send_replace(true);
        let now = Instant::now();
        let ended = async {
            self.singletons.stopped().await;
            let _ = self.runs.subscribe().wait_for(|runs| *runs == 0).await; // the sender lives in self
        };
        if timeout_at(now + deadline.saturating_duration_since(now) / FINISH_SHARE, ended).await.is_err() {
            warn!("leadership is given away while something still runs for the leader: it is cut off");
        }
        let _ = timeout_at(deadline, self.coordinator.resign(deadline)).await;
    }

    /// Starts nothing more as the leader: the node was dropped.
    pub(crate) fn abandon(&self) {
        self.closing.send_replace(true);
    }

    /// Waits until nothing more may be started as the leader.
    pub(crate) async fn closing(&self) {
        let _ = self.closing.subscribe().wait_for(|closing| *closing).await; // the sender lives in self
    }

    /// Leaves the cluster.
    pub(crate) async fn leave(&self, deadline: Instant) {
        let _ = timeout_at(deadline, self.coordinator.shutdown(deadline)).await; // it keeps its log
    }

    /// This node's place in the cluster.
    pub(crate) fn health(&self) -> ClusterHealth {
        ClusterHealth { leadership: self.watch().borrow().clone(), singletons: self.singletons.health() }
    }

    /// The cluster as a dependency. Only a node that has something for the leader is not ready without one.
    pub(crate) fn dependency(&self) -> Dependency {
        let (problem, down) = match self.coordinator.health() {
            CoordinatorHealth::Up => (None, false),
            CoordinatorHealth::Degraded(sentence) => (Some(sentence), false),
            CoordinatorHealth::Down(sentence) => (Some(sentence), true),
        };
        Dependency { name: "cluster".to_owned(), needed: self.needed && down, problem, failed: false }
    }
}

impl NodeInner {
    /// The fence of this node when it leads now.
    pub(crate) async fn fence(&self, deadline: Instant) -> Option<Fence> {
        let leading = self.leading.as_ref()?;
        let term = leading.watch().borrow().term()?;
        leading.confirm(term, deadline).await.ok()
    }

    /// Whether this node still leads in the term, as far as it knows.
    pub(crate) fn leads_in(&self, term: u64) -> bool {
        self.leading.as_ref().is_some_and(|leading| leading.leads_in(term))
    }
}

impl From<NotLeader> for Failed {
    fn from(not: NotLeader) -> Self {
        Self::NotLeader { leader: not.leader.map(|leader| leader.address().to_owned()) }
    }
}
