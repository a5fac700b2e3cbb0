//! The life of a node: it finds its place in the cluster, starts the engine there, and keeps it.

mod duties;
mod found;

use std::{io, sync::Arc};

use convoke_core::Leadership;
use openraft::{RaftLogReader, async_runtime::watch::WatchReceiver, storage::RaftLogStorage};
use tokio::time::Instant;
use uuid::Uuid;

use self::found::Place;
use super::{
    calls::Reach,
    door::Door,
    log::Log,
    net::{Identity, Net},
    node::{Clock, Node, Parts},
    plate::Plate,
    raft::{Raft, tuning},
    replica::Replica,
    snapshot::Snapshots,
    types::Types,
};
use crate::engine::runtime::watch;
use crate::{Config, Error, ErrorKind, StateMachine, replicated::Shared};

/// How far a node has come.
pub(crate) enum Phase<M: StateMachine> {
    /// It looks for its place, and this is what it waits for.
    Waiting(String),
    Running(Arc<Node<M>>),
    /// It cannot take part, and why.
    Refused {
        kind: ErrorKind,
        why: String,
    },
    Stopped,
}

/// A log that openraft takes; a simulation brings its own.
pub(crate) trait Keeps: RaftLogStorage<Types> + RaftLogReader<Types> + Clone {}

impl<L: RaftLogStorage<Types> + RaftLogReader<Types> + Clone> Keeps for L {}

/// What keeps the state of a node.
pub(crate) struct Disk<L = Log> {
    pub(crate) log: L,
    pub(crate) snapshots: Snapshots,
    pub(crate) plate: Plate,
}

/// Everything a node begins with.
pub(crate) struct Life<M: StateMachine, L = Log> {
    pub(crate) config: Config,
    /// Where others reach this node.
    pub(crate) address: String,
    pub(crate) disk: Disk<L>,
    pub(crate) system: Shared<M>,
    pub(crate) net: Net,
    pub(crate) identity: Identity,
    pub(crate) door: Arc<Door<M>>,
    pub(crate) clock: Clock,
    pub(crate) client: Uuid,
    pub(crate) applied: watch::Sender<u64>,
    pub(crate) phase: watch::Sender<Phase<M>>,
    pub(crate) leadership: tokio::sync::watch::Sender<Leadership>,
}

impl<M: StateMachine, L: Keeps> Life<M, L> {
    /// Runs until the node is refused, its engine stops, or this is dropped.
    pub(crate) async fn live(mut self) {
        let phase = self.phase.clone();
        let refused = match self.begin().await {
            Ok(node) => {
                phase.send_replace(Phase::Running(Arc::clone(&node)));
                match self.duties(&node).await {
                    Ok(()) if matches!(*phase.borrow(), Phase::Stopped) => return,
                    Ok(()) => engine_failed(&node),
                    Err(error) => {
                        // What it holds may contradict what it promised: it must not go on.
                        let _ = node.raft().shutdown().await;
                        error
                    }
                }
            }
            Err(error) => error,
        };
        tracing::error!(error = %refused, "this node does not take part in the cluster");
        phase.send_replace(Phase::Refused { kind: refused.kind(), why: refused.to_string() });
    }

    async fn begin(&mut self) -> Result<Arc<Node<M>>, Error> {
        let fresh = is_fresh(&mut self.disk.log).await.map_err(disk_failed)?;
        self.door.tell(!fresh);
        let place = self.place(fresh).await?;
        let id = place.id();
        self.disk.plate.set_id(id).map_err(disk_failed)?;
        self.identity.set_id(id);
        let raft = self.engine(id).await?;
        // A node that restarted has promised not to vote against a leader it no longer knows of.
        let silent = if fresh { None } else { Some(self.config.timing.lease()) };
        let votes_from = Instant::now() + silent.unwrap_or_default();
        let reach: Arc<dyn Reach> = Arc::new(self.net.calls());
        let node = Arc::new(Node::new(Parts {
            id,
            config: self.config.clone(),
            raft: raft.clone(),
            system: Arc::clone(&self.system),
            applied: self.applied.subscribe(),
            reach,
            clock: Arc::clone(&self.clock),
            client: self.client,
            leadership: self.leadership.clone(),
            heard: self.door.heard(),
        }));
        if silent.is_some() {
            raft.runtime_config().elect(false);
        }
        self.door.open(raft.clone(), self.disk.snapshots.clone(), Arc::clone(&node) as _, votes_from);
        raft.run();
        if let Place::Founder { first: true, .. } = place {
            self.initialize(&raft).await;
        }
        if silent.is_some() {
            tokio::spawn(async move {
                tokio::time::sleep_until(votes_from).await;
                raft.runtime_config().elect(true);
            });
        }
        tracing::info!(id, fresh, address = self.address, "this node has its place in the cluster");
        Ok(node)
    }

    async fn engine(&self, id: crate::NodeId) -> Result<Raft<M>, Error> {
        let replica =
            Replica::new(Arc::clone(&self.system), self.disk.snapshots.clone(), self.applied.clone());
        let (tuned, factory) = (tuning(&self.config)?, self.net.factory());
        let raft = Raft::build(id, tuned, factory, self.disk.log.clone(), replica).await;
        raft.map_err(|error| Error::storage(format!("the state on this disk cannot be used: {error}")))
    }

    /// Writes who founds the cluster into the log. The same on every founder, so that it does not matter who is first.
    async fn initialize(&self, raft: &Raft<M>) {
        if let Err(error) = raft.initialize(self.config.founders.clone()).await {
            // Another founder was faster, which is as good.
            tracing::debug!(%error, "the cluster was founded by another node");
        }
    }

    fn waits(&self, what: impl Into<String>) {
        self.phase.send_replace(Phase::Waiting(what.into()));
    }
}

/// Why the engine stopped that nobody had told to.
fn engine_failed<M: StateMachine>(node: &Node<M>) -> Error {
    match &node.raft().metrics().borrow_watched().running_state {
        Err(fatal) => Error::storage(format!("the engine of this node stopped: {fatal}")),
        Ok(()) => Error::stopped(),
    }
}

/// Whether this log has never promised anything to anybody.
async fn is_fresh(log: &mut impl Keeps) -> io::Result<bool> {
    let state = log.get_log_state().await?;
    Ok(state.last_log_id.is_none() && state.last_purged_log_id.is_none() && log.read_vote().await?.is_none())
}

pub(crate) fn disk_failed(error: io::Error) -> Error {
    Error::storage(format!("the state of this node cannot be kept: {error}")).because(error)
}
