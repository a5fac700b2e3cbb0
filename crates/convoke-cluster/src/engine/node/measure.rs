use std::sync::atomic::Ordering;

use openraft::{ServerState, async_runtime::watch::WatchReceiver, metrics::RaftMetrics};
use tokio::time::Instant;

use super::Node;
use crate::{
    FollowerMetrics, Metrics, Standing, StateMachine,
    engine::{leading::when, types::Types},
};

impl<M: StateMachine> Node<M> {
    /// What the engine tells of itself.
    pub(crate) fn metrics(&self) -> Metrics {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let index = |id: &Option<openraft::alias::LogIdOf<Types>>| id.map_or(0, |id| id.index);
        Metrics {
            node_id: Some(self.id),
            standing: match metrics.state {
                ServerState::Learner => Standing::Learner,
                ServerState::Follower => Standing::Follower,
                ServerState::Candidate => Standing::Candidate,
                ServerState::Leader => Standing::Leader,
                ServerState::Shutdown => Standing::Away,
            },
            term: metrics.current_term,
            leader: metrics.current_leader,
            leader_changes: self.leader_changes.load(Ordering::Relaxed),
            last: metrics.last_log_index.unwrap_or_default(),
            committed: index(&metrics.local_committed),
            applied: index(&metrics.last_applied),
            snapshot: index(&metrics.snapshot),
            purged: index(&metrics.purged),
            followers: self.followers(&metrics),
            ..Metrics::default()
        }
    }

    fn followers(&self, metrics: &RaftMetrics<Types>) -> Vec<FollowerMetrics> {
        let Some(replication) = &metrics.replication else { return Vec::new() };
        let last = metrics.last_log_index.unwrap_or_default();
        let heard = |id: &crate::NodeId| {
            let at = metrics.heartbeat.as_ref()?.get(id).copied().flatten()?;
            Some(Instant::now().saturating_duration_since(when(at.into_inner())?))
        };
        let nodes = metrics.membership_config.membership().nodes().filter(|(id, _)| **id != self.id);
        let follower = |(id, member): (&crate::NodeId, &crate::Member)| FollowerMetrics {
            id: *id,
            name: member.name.clone(),
            lag: last.saturating_sub(replication.get(id).copied().flatten().map_or(0, |id| id.index)),
            heard: heard(id),
        };
        nodes.map(follower).collect()
    }
}
