use std::time::Duration;

use openraft::{
    ServerState,
    alias::{InstantOf, VoteOf},
    async_runtime::watch::WatchReceiver,
    metrics::RaftServerMetrics,
};
use tokio::time::Instant;

use super::{raft::Raft, types::Types};
use crate::{Member, NodeId, StateMachine};

/// Who leads, as this node's engine has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Leading {
    Here { term: u64 },
    There { id: NodeId, term: u64, member: Member },
    Nobody,
}

impl Leading {
    pub(crate) fn of(metrics: &RaftServerMetrics<Types>) -> Self {
        let term = metrics.vote.leader_id.term;
        // What a restarted leader remembers of itself is not leading.
        let leads = metrics.state == ServerState::Leader && metrics.vote.committed;
        match metrics.current_leader {
            Some(id) if id == metrics.id => {
                if leads {
                    Self::Here { term }
                } else {
                    Self::Nobody
                }
            }
            Some(id) => match metrics.membership_config.membership().get_node(&id) {
                Some(member) => Self::There { id, term, member: member.clone() },
                None => Self::Nobody,
            },
            None => Self::Nobody,
        }
    }

    pub(crate) fn term_here(&self) -> Option<u64> {
        if let Self::Here { term } = self { Some(*term) } else { None }
    }

    pub(crate) fn id(&self, me: NodeId) -> Option<NodeId> {
        match self {
            Self::Here { .. } => Some(me),
            Self::There { id, .. } => Some(*id),
            Self::Nobody => None,
        }
    }
}

/// The latest term that somebody led, as far as this vote tells: one that was promised to a candidate may still begin.
pub(crate) fn latest_term(vote: &VoteOf<Types>) -> u64 {
    vote.leader_id.term - u64::from(!vote.committed && vote.leader_id.term > 0)
}

/// Until when nobody else can lead, as far as this node's own clock goes.
///
/// A majority that heard from the leader at some time refuses everybody else its vote for the election timeout from
/// then on. It ends [earlier](safe) for the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) term: u64,
    pub(crate) until: Instant,
}

/// What a leader makes use of, of what was promised for so long: an eighth less. Clocks differ in their speed, and what
/// runs for the leader takes a moment to stop.
pub(crate) fn safe(length: Duration) -> Duration {
    length - length / 8
}

/// The lease of this node, when it leads and has one; it may be over.
pub(crate) fn lease<M: StateMachine>(raft: &Raft<M>, length: Duration) -> Option<Lease> {
    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    if metrics.state != ServerState::Leader
        || !metrics.vote.committed
        || metrics.vote.leader_id.voted_for != metrics.id
    {
        return None;
    }
    let term = metrics.vote.leader_id.term;
    let safe = safe(length);
    let mut voters = metrics.membership_config.membership().voter_ids();
    if voters.next() == Some(metrics.id) && voters.next().is_none() {
        // Nobody else can be elected.
        return Some(Lease { term, until: Instant::now() + safe });
    }
    let heard = when(metrics.last_quorum_acked?.into_inner())?;
    Some(Lease { term, until: heard + safe })
}

/// When this was on our own clock. Never later than it was.
pub(crate) fn when(at: InstantOf<Types>) -> Option<Instant> {
    Instant::now().checked_sub(openraft::Instant::elapsed(&at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_voted_for_a_candidate_waits_for_its_term_to_begin() {
        assert_eq!(latest_term(&VoteOf::<Types>::new_committed(7, 1)), 7);
        assert_eq!(latest_term(&VoteOf::<Types>::new(8, 2)), 7);
        assert_eq!(latest_term(&VoteOf::<Types>::new(0, 1)), 0);
    }
}
