use std::time::Duration;

use convoke_core::{CoordinatorHealth, Leadership};
use openraft::async_runtime::watch::WatchReceiver;
use tokio::time::Instant;

use super::Node;
use crate::{
    StateMachine,
    engine::leading::{Leading, when},
};

/// A member that the leader has not heard for this many leases is missed.
const MISSED_LEASES: u32 = 5;

impl<M: StateMachine> Node<M> {
    /// How the cluster stands, as this node sees it.
    pub(crate) fn health(&self) -> CoordinatorHealth {
        if let Err(fatal) = &self.raft.metrics().borrow_watched().running_state {
            return CoordinatorHealth::Down(format!("this node of the cluster stopped: {fatal}"));
        }
        let members = self.members();
        match self.leading() {
            Leading::Nobody => CoordinatorHealth::Down("no leader is known".to_owned()),
            Leading::Here { .. } if !self.leadership.borrow().is_leader() => CoordinatorHealth::Down(
                "this node leads, and no majority has heard from it lately".to_owned(),
            ),
            Leading::Here { .. } => self.missed(),
            Leading::There { member, .. } if *self.leadership.borrow() == Leadership::NoLeader => {
                CoordinatorHealth::Down(format!("the leader, {member}, is not heard any more"))
            }
            Leading::There { .. } if members.iter().any(|(id, ..)| *id == self.id) => CoordinatorHealth::Up,
            Leading::There { .. } => {
                CoordinatorHealth::Degraded("this node is not a member (any more)".to_owned())
            }
        }
    }

    fn missed(&self) -> CoordinatorHealth {
        let longest: Duration = self.config.timing.lease() * MISSED_LEASES;
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let Some(heard) = &metrics.heartbeat else { return CoordinatorHealth::Up };
        let silent = |id: &crate::NodeId| {
            let at = heard.get(id).copied().flatten().and_then(|at| when(at.into_inner()));
            at.is_none_or(|at| Instant::now().saturating_duration_since(at) > longest)
        };
        let nodes = metrics.membership_config.membership().nodes();
        let missed: Vec<String> = nodes
            .filter(|(id, _)| **id != self.id && silent(id))
            .map(|(_, member)| member.to_string())
            .collect();
        if missed.is_empty() {
            CoordinatorHealth::Up
        } else {
            CoordinatorHealth::Degraded(format!("not heard lately: {}", missed.join(", ")))
        }
    }
}
