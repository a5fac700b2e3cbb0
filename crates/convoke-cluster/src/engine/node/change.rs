//! Changes of who is a member, made by the leader, one at a time.

mod transfer;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use openraft::{
    ChangeMembers, Membership,
    alias::{LogIdOf, StoredMembershipOf},
    async_runtime::watch::WatchReceiver,
    errors::{ChangeMembershipError, ClientWriteError, RaftError},
    raft::Precondition,
};
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    Node,
    here::{failed, refused},
};
use crate::{
    Error, Member, NodeId, StateMachine,
    config::FOUNDER_ID_MAX,
    engine::{
        calls::{Change, Reply},
        leading::Leading,
        types::{Op, Types},
    },
};

/// The pause while an earlier change is not committed yet.
const PAUSE: Duration = Duration::from_millis(10);
/// A learner that lacks no more entries than this is promoted: it has the rest before the promotion is committed.
const LAG_MAX: u64 = 256;
/// Whether a voter that loses its vote goes on as a learner. Never: then whoever ends a change that another leader began
/// need not know whether it was a removal.
const RETAIN: bool = false;

/// Who is a member, and since which entry of the log.
struct Members {
    since: Option<LogIdOf<Types>>,
    membership: Membership<NodeId, Member>,
}

impl Members {
    fn of(stored: &StoredMembershipOf<Types>) -> Self {
        Self { since: *stored.log_id(), membership: stored.membership().clone() }
    }

    fn member(&self, id: NodeId) -> Option<&Member> {
        self.membership.get_node(&id)
    }

    fn votes(&self, id: NodeId) -> bool {
        self.membership.voter_ids().any(|voter| voter == id)
    }
}

impl<M: StateMachine> Node<M> {
    pub(super) async fn change_here(&self, change: Change, deadline: Instant) -> Reply {
        if self.leading().term_here().is_none() {
            return Reply::NotLeader(self.leading().id(self.id));
        }
        let Ok(_changing) = timeout_at(deadline, self.changing.lock()).await else {
            return failed(&Error::overloaded("another change of the members is under way"));
        };
        let done = match change {
            Change::AddLearner(member) => self.add_learner(member, deadline).await,
            Change::Settle { id, disk } => self.settle(id, disk, deadline).await,
            Change::Promote(id) => self.promote(id, deadline).await,
            Change::Remove(id) => self.remove(id, deadline).await,
            Change::Replace { old, new } => self.replace(old, new, deadline).await,
            Change::Transfer { to } => self.transfer_here(to, deadline).await,
        };
        done.map_or_else(|reply| reply, Reply::Changed)
    }

    async fn add_learner(&self, member: Member, deadline: Instant) -> Result<NodeId, Reply> {
        if !crate::config::is_address(&member.raft, false) {
            let text = format!("{:?} is no address: write `host:port`, such as `10.0.0.4:9081`", member.raft);
            return Err(failed(&Error::refused(text)));
        }
        // A repeat whose first answer was lost, or the same wish of two people.
        let members = self.members_now(deadline).await?;
        let same =
            |node: &Member| node.disk.is_none() && node.name == member.name && node.raft == member.raft;
        let known = members.membership.nodes().find(|(id, node)| same(node) && !members.votes(**id));
        if let Some((id, _)) = known {
            return Ok(*id);
        }
        // A place in the log comes once, and those below are the founders'.
        let id = match self.propose_here(None, Op::Tick, deadline).await {
            Reply::Applied(applied) => FOUNDER_ID_MAX + applied.index,
            other => return Err(other),
        };
        let node = Member { disk: None, ..member };
        let add = ChangeMembers::AddNodes(BTreeMap::from([(id, node)]));
        self.change_members(&members, add, deadline).await?;
        Ok(id)
    }

    /// Remembers on which disk the state of a member is. Another one is refused: it has forgotten how it voted.
    async fn settle(&self, id: NodeId, disk: uuid::Uuid, deadline: Instant) -> Result<NodeId, Reply> {
        let members = self.members_now(deadline).await?;
        let Some(member) = members.member(id) else {
            let text = format!(
                "node {id} is not a member (any more): add it as a new one with `add_learner` and start it with \
                 `join` and an empty disk"
            );
            return Err(failed(&Error::refused(text)));
        };
        match member.disk {
            Some(known) if known == disk => Ok(id),
            Some(_) => {
                let text = format!(
                    "node {id} comes with another disk than before, so it may have forgotten how it voted: remove \
                     {id}, add it as a new member with `add_learner`, and start it with `join`"
                );
                Err(failed(&Error::refused(text)))
            }
            None => {
                let node = Member { disk: Some(disk), ..member.clone() };
                let set = ChangeMembers::SetNodes(BTreeMap::from([(id, node)]));
                self.change_members(&members, set, deadline).await?;
                Ok(id)
            }
        }
    }

    async fn promote(&self, id: NodeId, deadline: Instant) -> Result<NodeId, Reply> {
        let members = self.members_now(deadline).await?;
        if members.member(id).is_none() {
            return Err(failed(&Error::refused(format!("there is no member {id} to promote"))));
        }
        if members.votes(id) {
            return Ok(id);
        }
        self.caught_up(id, LAG_MAX, deadline).await?;
        let add = ChangeMembers::AddVoterIds(BTreeSet::from([id]));
        self.change_members(&members, add, deadline).await?;
        Ok(id)
    }

    async fn remove(&self, id: NodeId, deadline: Instant) -> Result<NodeId, Reply> {
        let members = self.members_now(deadline).await?;
        if members.member(id).is_none() {
            return Ok(id);
        }
        if id == self.id {
            // The next leader removes us: this one is asked again there.
            let next = self.transfer_here(None, deadline).await?;
            return Err(Reply::NotLeader(Some(next)));
        }
        let ids = BTreeSet::from([id]);
        let change = if members.votes(id) {
            ChangeMembers::RemoveVoters(ids)
        } else {
            ChangeMembers::RemoveNodes(ids)
        };
        self.change_members(&members, change, deadline).await?;
        Ok(id)
    }

    async fn replace(&self, old: NodeId, new: NodeId, deadline: Instant) -> Result<NodeId, Reply> {
        let members = self.members_now(deadline).await?;
        let mut voters: BTreeSet<NodeId> = members.membership.voter_ids().collect();
        if !voters.contains(&old) && voters.contains(&new) {
            return Ok(new);
        }
        if !voters.remove(&old) || members.member(new).is_none() {
            let text = format!("{old} must be a voter and {new} a member, to take its place");
            return Err(failed(&Error::refused(text)));
        }
        if old == self.id {
            let next = self.transfer_here(None, deadline).await?;
            return Err(Reply::NotLeader(Some(next)));
        }
        self.caught_up(new, LAG_MAX, deadline).await?;
        voters.insert(new);
        self.change_members(&members, ChangeMembers::ReplaceAllVoters(voters), deadline).await?;
        Ok(new)
    }

    /// Ends a change that its leader could not finish: two majorities would be needed for ever. When it is this node that
    /// goes, it hands over first, also when its going is in the log already.
    pub(crate) async fn finish_change(&self, deadline: Instant) -> Result<(), Reply> {
        let Ok(_changing) = timeout_at(deadline, self.changing.lock()).await else { return Ok(()) };
        // Looked at under the lock: a change of ours that is under way is joint for a moment as well.
        let members = self.as_it_is();
        let configs = members.membership.get_joint_config().as_slice();
        let stays = configs.last().is_none_or(|last| last.contains(&self.id));
        if !stays {
            return self.transfer_here(None, deadline).await.map(drop);
        }
        let [_, .., last] = configs else { return Ok(()) };
        self.change_members(&members, ChangeMembers::ReplaceAllVoters(last.clone()), deadline).await
    }

    /// Makes a change to these members, in as many steps as it takes, and waits while an earlier one is not committed.
    /// Another leader may have changed them since they were looked at: what follows from the look would undo that.
    async fn change_members(
        &self,
        members: &Members,
        change: ChangeMembers<NodeId, Member>,
        deadline: Instant,
    ) -> Result<(), Reply> {
        loop {
            // The engine would refuse the next one, and log an error.
            self.settled(deadline).await?;
            let as_seen = [Precondition::LastMembershipLogId { last_membership_log_id: members.since }];
            let change = self.raft.change_membership_if(change.clone(), RETAIN, as_seen);
            let changed = timeout_at(deadline, change).await;
            match changed.map_err(|_| failed(&Error::timed_out()))? {
                Ok(_) => return Ok(()),
                Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(
                    ChangeMembershipError::InProgress(_),
                ))) => sleep(PAUSE).await,
                // Its first step may have been made. Whoever asked looks again.
                Err(RaftError::APIError(ClientWriteError::PreconditionFailed(_))) => {
                    return Err(failed(&Error::timed_out()));
                }
                Err(error) => return Err(refused(error)),
            }
        }
    }

    /// Who is a member, confirmed by a majority after the call was made: a leader that does not know yet that it is none any
    /// more does not know of later changes either.
    async fn members_now(&self, deadline: Instant) -> Result<Members, Reply> {
        loop {
            let members = self.settled(deadline).await?;
            match self.read_index_here(false, deadline).await {
                Reply::ReadIndex(_) if self.as_it_is().since == members.since => return Ok(members),
                Reply::ReadIndex(_) => {}
                reply => return Err(reply),
            }
        }
    }

    /// Who is a member, once that is committed: what is not may be gone with the next leader, so nobody may be told that it
    /// is so.
    async fn settled(&self, deadline: Instant) -> Result<Members, Reply> {
        let mut metrics = self.raft.server_metrics();
        loop {
            {
                let metrics = metrics.borrow_and_update();
                let leading = Leading::of(&metrics);
                if leading.term_here().is_none() {
                    return Err(Reply::NotLeader(leading.id(self.id)));
                }
                if metrics.membership_config.log_id() == metrics.committed_membership_config.log_id() {
                    return Ok(Members::of(&metrics.membership_config));
                }
            }
            match timeout_at(deadline, metrics.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(failed(&Error::stopped())),
                Err(_) => return Err(failed(&Error::no_quorum())),
            }
        }
    }

    /// Waits until this member lacks no more than `lag` entries.
    async fn caught_up(&self, id: NodeId, lag: u64, deadline: Instant) -> Result<(), Reply> {
        let mut metrics = self.raft.metrics();
        loop {
            let (last, matched) = {
                let metrics = metrics.borrow_and_update();
                let Some(replication) = &metrics.replication else {
                    return Err(Reply::NotLeader(metrics.current_leader));
                };
                let matched = replication.get(&id).copied().flatten().map(|id| id.index);
                (metrics.last_log_index.unwrap_or_default(), matched)
            };
            if matched.is_some_and(|matched| matched + lag >= last) {
                return Ok(());
            }
            match timeout_at(deadline, metrics.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(failed(&Error::stopped())),
                Err(_) => {
                    let behind = matched.map_or(last, |matched| last - matched);
                    let text = format!(
                        "member {id} lacks {behind} entries of the log: is it up, and can it be reached?"
                    );
                    return Err(failed(&Error::refused(text)));
                }
            }
        }
    }

    /// Who is a member as the log has it, committed or not.
    fn as_it_is(&self) -> Members {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        Members::of(&metrics.membership_config)
    }
}
