//! A node that has its place in the cluster: the engine, and what its clients and other members ask of it.

mod answer;
mod change;
mod health;
mod here;
mod measure;
mod route;
mod standing;
mod ticks;

use std::sync::{Arc, atomic::AtomicU64};

use convoke_core::{BoxFuture, LeaderInfo, Leadership};
use openraft::async_runtime::watch::WatchReceiver;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout_at},
};

use super::{
    calls::{Ask, Reach, Reply},
    gate::Gate,
    heard::Heard,
    leading::Leading,
    origins::Origins,
    raft::Raft,
    types::{Applied, Op},
};
use crate::engine::runtime::watch;
use crate::{Config, Consistency, Error, Member, NodeId, StateMachine, propose::Propose, replicated::Shared};

pub(crate) use ticks::Clock;

/// What a node is made of.
pub(crate) struct Parts<M: StateMachine> {
    pub(crate) id: NodeId,
    pub(crate) config: Config,
    pub(crate) raft: Raft<M>,
    pub(crate) system: Shared<M>,
    pub(crate) applied: watch::Receiver<u64>,
    pub(crate) reach: Arc<dyn Reach>,
    pub(crate) clock: Clock,
    /// What this run of the node calls itself in the log.
    pub(crate) client: uuid::Uuid,
    /// Where the leadership of this node is told.
    pub(crate) leadership: tokio::sync::watch::Sender<Leadership>,
    pub(crate) heard: Arc<Heard>,
}

pub(crate) struct Node<M: StateMachine> {
    id: NodeId,
    config: Config,
    raft: Raft<M>,
    system: Shared<M>,
    applied: watch::Receiver<u64>,
    reach: Arc<dyn Reach>,
    clock: Clock,
    origins: Origins,
    leadership: tokio::sync::watch::Sender<Leadership>,
    heard: Arc<Heard>,
    gate: Gate,
    /// Changes of leaders that were seen.
    leader_changes: AtomicU64,
    /// One change of the members at a time.
    changing: Mutex<()>,
}

impl<M: StateMachine> Node<M> {
    pub(crate) fn new(parts: Parts<M>) -> Self {
        let Parts { id, config, raft, system, applied, reach, clock, client, leadership, heard } = parts;
        let origins = Origins::new(client, *applied.borrow());
        let (gate, leader_changes, changing) = (Gate::new(), AtomicU64::new(0), Mutex::new(()));
        Self {
            id,
            config,
            raft,
            system,
            applied,
            reach,
            clock,
            origins,
            leadership,
            heard,
            gate,
            leader_changes,
            changing,
        }
    }

    pub(crate) fn id(&self) -> NodeId {
        self.id
    }

    pub(crate) fn raft(&self) -> &Raft<M> {
        &self.raft
    }

    pub(crate) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Ends what runs for the leader, in whatever term: this node stops.
    pub(crate) fn close(&self) {
        self.gate.close(u64::MAX);
    }

    pub(crate) fn leading(&self) -> Leading {
        Leading::of(&self.raft.server_metrics().borrow_watched())
    }

    /// The other node that leads, in the words of core.
    pub(crate) fn leader_info(&self) -> Option<LeaderInfo> {
        match self.leading() {
            Leading::There { member, term, .. } => {
                Some(LeaderInfo { node: member.name, http: member.http, term })
            }
            _ => None,
        }
    }

    /// Everybody, as this node knows it: number, address, whether it votes.
    pub(crate) fn members(&self) -> Vec<(NodeId, Member, bool)> {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let voters: Vec<NodeId> = membership.voter_ids().collect();
        membership.nodes().map(|(id, member)| (*id, member.clone(), voters.contains(id))).collect()
    }

    /// Waits until this was applied here.
    async fn applied_to(&self, index: u64, deadline: Instant) -> Result<(), Error> {
        let mut applied = self.applied.clone();
        match timeout_at(deadline, applied.wait_for(|applied| *applied >= index)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(Error::stopped()),
            Err(_) => Err(Error::behind()),
        }
    }
}

impl<M: StateMachine> Propose for Node<M> {
    fn propose(&self, op: Op, deadline: Instant) -> BoxFuture<'_, Result<Applied, Error>> {
        Box::pin(async move {
            self.fits(&op)?;
            let Some(open) = self.origins.open(self.config.proposals_max) else {
                return Err(Error::overloaded("this node has too many proposals under way"));
            };
            let ask = || Ask::Propose { origin: open.origin(), op: op.clone() };
            match self.at_leader(ask, deadline).await? {
                Reply::Applied(applied) if applied.forgotten => Err(Error::forgotten()),
                Reply::Applied(applied) => Ok(applied),
                other => Err(unexpected(&other)),
            }
        })
    }

    fn barrier(&self, consistency: Consistency, deadline: Instant) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let lease = match consistency {
                Consistency::Eventual => return Ok(()),
                Consistency::Lease => true,
                Consistency::Linearizable => false,
            };
            let read = self.at_leader(|| Ask::ReadIndex { lease }, deadline).await;
            // A read that was not answered did nothing.
            match read.map_err(|error| {
                if error.kind() == crate::ErrorKind::TimedOut { Error::no_quorum() } else { error }
            })? {
                Reply::ReadIndex(index) => self.applied_to(index, deadline).await,
                other => Err(unexpected(&other)),
            }
        })
    }

    fn applied(&self) -> watch::Receiver<u64> {
        self.applied.clone()
    }
}

fn unexpected(reply: &Reply) -> Error {
    Error::unavailable(format!("the leader's answer fits no question of ours: {reply:?}"))
}

impl<M: StateMachine> std::fmt::Debug for Node<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("id", &self.id).finish_non_exhaustive()
    }
}
