use openraft::async_runtime::watch::WatchReceiver;
use tokio::time::{Instant, timeout_at};

use crate::{
    Error, NodeId, StateMachine,
    engine::{
        calls::{Ask, Change, Reply},
        leading::{Leading, when},
        node::{Node, here::failed},
    },
};

/// A member that lacks more entries than this does not take over: until it has them, nobody could write.
const LAG_MAX: u64 = 1024;

impl<M: StateMachine> Node<M> {
    /// Has the leader hand over, wherever it is, and says who leads then.
    pub(crate) async fn transfer(&self, to: Option<NodeId>, deadline: Instant) -> Result<NodeId, Error> {
        let before = self.leading();
        let asked = self.at_leader_once(|| Ask::Change(Change::Transfer { to }), deadline).await;
        match asked {
            Ok(Reply::Changed(id)) => Ok(id),
            Ok(other) => {
                Err(Error::unavailable(format!("the leader's answer fits no question of ours: {other:?}")))
            }
            // The answer may come after the new leader, and then it is not waited for.
            Err(error) => match self.leading().id(self.id) {
                Some(id) if Some(id) != before.id(self.id) && to.is_none_or(|to| to == id) => Ok(id),
                _ => Err(error),
            },
        }
    }

    /// Hands over: first what runs for the leader here ends, then the other one is told to stand.
    pub(crate) async fn transfer_here(&self, to: Option<NodeId>, deadline: Instant) -> Result<NodeId, Reply> {
        let Some(term) = self.leading().term_here() else {
            return Err(Reply::NotLeader(self.leading().id(self.id)));
        };
        if to == Some(self.id) {
            return Ok(self.id);
        }
        let to = self.successor(to, deadline).await?;
        self.gate.close(term);
        if !self.told_that_it_is_over(term, deadline).await || !self.gate.empty(deadline).await {
            self.gate.reopen(term);
            let text = "what runs for the leader on this node did not end in time: it goes on leading";
            return Err(failed(&Error::refused(text)));
        }
        tracing::info!(to, term, "handing leadership over");
        if self.raft.trigger().transfer_leader(to).await.is_err() {
            return Err(failed(&Error::stopped()));
        }
        self.handed_over(term, deadline).await
    }

    /// Waits until who asks this node is told that it does not lead in this term, before another one can lead.
    async fn told_that_it_is_over(&self, term: u64, deadline: Instant) -> bool {
        let mut told = self.leadership.subscribe();
        timeout_at(deadline, told.wait_for(|told| told.term() != Some(term))).await.is_ok()
    }

    /// Whoever leads next. Not always the one that was meant: when it does not answer, the others choose.
    async fn handed_over(&self, term: u64, deadline: Instant) -> Result<NodeId, Reply> {
        let mut metrics = self.raft.server_metrics();
        loop {
            match Leading::of(&metrics.borrow_and_update()) {
                Leading::There { id, term: later, .. } if later > term => return Ok(id),
                Leading::Here { term: later } if later > term => return Ok(self.id),
                _ => {}
            }
            match timeout_at(deadline, metrics.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(failed(&Error::stopped())),
                Err(_) => return Err(failed(&Error::timed_out())),
            }
        }
    }

    /// A voter that can take over at once.
    async fn successor(&self, to: Option<NodeId>, deadline: Instant) -> Result<NodeId, Reply> {
        let voters = self.as_it_is().membership.voter_ids().filter(|id| *id != self.id).collect::<Vec<_>>();
        match to {
            Some(to) if !voters.contains(&to) => {
                Err(failed(&Error::refused(format!("node {to} does not vote, so it cannot lead"))))
            }
            Some(to) => self.caught_up(to, LAG_MAX, deadline).await.map(|()| to),
            None => self.best_of(&voters).ok_or_else(|| {
                failed(&Error::refused("no other voter has been heard lately, so nobody can take over"))
            }),
        }
    }

    /// The one that has most of the log, of those that were heard within the lease.
    fn best_of(&self, voters: &[NodeId]) -> Option<NodeId> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let (replication, heard) = (metrics.replication.as_ref()?, metrics.heartbeat.as_ref()?);
        let since = Instant::now() - self.lease_length();
        let lately = |id: &&NodeId| {
            let at = heard.get(id).copied().flatten().and_then(|at| when(at.into_inner()));
            at.is_some_and(|at| at >= since)
        };
        let matched = |id: &&NodeId| replication.get(id).copied().flatten().map(|id| id.index);
        voters.iter().filter(lately).max_by_key(matched).copied()
    }
}
