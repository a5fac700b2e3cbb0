use std::time::Duration;

use tokio::time::Instant;

use super::Cluster;
use crate::{
    Error, Member, NodeId, StateMachine,
    engine::{
        calls::{Ask, Change, Reply},
        node::Node,
    },
};

/// How long a change of the members may take: a learner may have to catch up first.
const CHANGE_WITHIN: Duration = Duration::from_secs(30);

/// A member, as this node knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberInfo {
    /// Its number. Never used again.
    pub id: NodeId,
    /// Where it is.
    pub member: Member,
    /// Whether it votes.
    pub role: Role,
    /// Whether it leads.
    pub leads: bool,
}

/// Whether a member votes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// It counts for the majority.
    Voter,
    /// It follows, and counts for nothing.
    Learner,
}

impl MemberInfo {
    /// Whether it has taken part with the disk it has. One that comes with another disk is refused from then on.
    #[must_use]
    pub fn has_settled(&self) -> bool {
        self.member.disk.is_some()
    }
}

impl<M: StateMachine> Cluster<M> {
    /// Everybody, as this node knows it.
    #[must_use]
    pub fn members(&self) -> Vec<MemberInfo> {
        let Some(node) = self.inner.running() else { return Vec::new() };
        let leader = node.leading().id(node.id());
        let members = node.members().into_iter();
        let info = |(id, member, votes)| MemberInfo {
            id,
            member,
            role: if votes { Role::Voter } else { Role::Learner },
            leads: leader == Some(id),
        };
        members.map(info).collect()
    }

    /// Adds a node that does not vote yet. Start it with [`Config::join`](crate::Config::join), the same name and this
    /// address; it may already be waiting. Its number is new, whatever its name was before.
    ///
    /// # Errors
    /// When the cluster refuses it, or there is no leader.
    pub async fn add_learner(&self, member: Member) -> Result<NodeId, Error> {
        self.change(Change::AddLearner(member)).await
    }

    /// Lets a learner vote, as soon as it has caught up.
    ///
    /// # Errors
    /// When it did not catch up in time, is no member, or there is no leader.
    pub async fn promote(&self, id: NodeId) -> Result<(), Error> {
        self.change(Change::Promote(id)).await.map(drop)
    }

    /// Removes a member for good. When it leads, it hands over first.
    ///
    /// # Errors
    /// When there is no leader, or nobody who could take over.
    pub async fn remove(&self, id: NodeId) -> Result<(), Error> {
        self.change(Change::Remove(id)).await.map(drop)
    }

    /// Puts a learner in the place of a voter, in one step: a member that will not come back, say.
    ///
    /// # Errors
    /// As [`promote`](Self::promote) and [`remove`](Self::remove).
    pub async fn replace(&self, old: NodeId, new: NodeId) -> Result<(), Error> {
        self.change(Change::Replace { old, new }).await.map(drop)
    }

    /// Hands leadership to this voter, or to the one that has most of the log. What runs for the leader ends first.
    ///
    /// # Errors
    /// When it cannot take over, or there is no leader.
    pub async fn transfer_leadership(&self, to: Option<NodeId>) -> Result<NodeId, Error> {
        let deadline = Instant::now() + CHANGE_WITHIN;
        self.inner.on_node(deadline, async |node| node.transfer(to, deadline).await).await
    }

    async fn change(&self, change: Change) -> Result<NodeId, Error> {
        let deadline = Instant::now() + CHANGE_WITHIN;
        self.inner.on_node(deadline, async |node| made(node, &change, deadline).await).await
    }
}

async fn made<M: StateMachine>(node: &Node<M>, change: &Change, deadline: Instant) -> Result<NodeId, Error> {
    match node.at_leader(|| Ask::Change(change.clone()), deadline).await? {
        Reply::Changed(id) => Ok(id),
        other => Err(Error::unavailable(format!("the leader's answer fits no question of ours: {other:?}"))),
    }
}
