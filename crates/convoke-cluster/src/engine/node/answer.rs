use convoke_core::BoxFuture;
use openraft::async_runtime::watch::WatchReceiver;
use tokio::time::Instant;

use super::Node;
use crate::{
    Member, NodeId, StateMachine,
    engine::calls::{Answer, Ask, Reply, Seat},
};

impl<M: StateMachine> Answer for Node<M> {
    fn answer(&self, ask: Ask, deadline: Instant) -> BoxFuture<'_, Reply> {
        Box::pin(self.answer_here(ask, deadline))
    }
}

impl<M: StateMachine> Node<M> {
    pub(super) async fn answer_here(&self, ask: Ask, deadline: Instant) -> Reply {
        match ask {
            Ask::Leader => self.leader_here(),
            Ask::Propose { origin, op } => self.propose_here(Some(origin), op, deadline).await,
            Ask::ReadIndex { lease } => self.read_index_here(lease, deadline).await,
            Ask::Change(change) => self.change_here(change, deadline).await,
            Ask::Seat { name, raft } => Reply::Seat(self.seat(&name, &raft)),
        }
    }

    fn leader_here(&self) -> Reply {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        // Who founds the cluster stands at 0; what follows was written by a leader that a majority elected.
        let founded = metrics.last_log_index.is_some_and(|last| last > 0);
        Reply::Leader { leader: metrics.current_leader, founded }
    }

    /// The place of a node that was added and has not come yet. The latest, when it was added more than once. Only what is
    /// committed is a place: a number that is gone with the next leader would be kept for ever.
    fn seat(&self, name: &str, raft: &str) -> Option<Seat> {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let committed = metrics.committed_membership_config.membership();
        let members: Vec<(NodeId, Member)> =
            committed.nodes().map(|(id, member)| (*id, member.clone())).collect();
        let free = |member: &Member| member.disk.is_none() && member.name == name && member.raft == raft;
        let id = members.iter().filter(|(_, member)| free(member)).map(|(id, _)| *id).max()?;
        Some(Seat { id, members })
    }
}
