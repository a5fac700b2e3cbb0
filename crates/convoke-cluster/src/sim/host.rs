//! A node of a simulation: real but for its network, its disk and its clock.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use convoke_testing::history::Terms;
use tokio::{sync::watch, task::JoinSet, time::Instant};

use super::{
    dice::Dice,
    disk::Disk,
    planted::Planted,
    registers::{Registers, Witness},
    wires::Wires,
    world::{Life, World},
};
use crate::{
    Cluster, Config, Member, NodeId,
    cluster::simulated,
    engine::{life, node::Clock, plate::Plate, snapshot::Snapshots},
    propose::Propose,
};

/// So that a run sees snapshots made, sent and installed.
const SNAPSHOT_EVERY: u64 = 120;
/// Some time in 2023.
const CLOCK_START_MS: u64 = 1_700_000_000_000;
const CLUSTER: &str = "simulated";

/// What all nodes of a simulation share.
pub(super) struct Common {
    pub(super) seed: u64,
    pub(super) planted: Planted,
    pub(super) world: Arc<World>,
    pub(super) witness: Arc<Witness>,
    pub(super) terms: Arc<Terms>,
    pub(super) start: Instant,
    /// The nodes the cluster begins with.
    pub(super) founders: BTreeMap<NodeId, Member>,
}

/// What of a node outlives its crashes.
pub(super) struct Seat {
    pub(super) id: NodeId,
    pub(super) disk: Disk,
    snapshots: Snapshots,
    plate: Plate,
    clock: Clock,
    names: Dice,
}

/// How wrong a node's wall clock is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Skew {
    pub(super) ahead_ms: i64,
    /// How much faster it runs, in thousandths.
    pub(super) faster: i64,
}

impl Seat {
    pub(super) fn new(common: &Common, id: NodeId, skew: Skew) -> Self {
        let start = common.start;
        let clock = move || {
            let passed = i64::try_from(start.elapsed().as_millis()).expect("a run is short");
            CLOCK_START_MS.saturating_add_signed(passed + passed * skew.faster / 1000 + skew.ahead_ms)
        };
        let mut names = Dice::of(common.seed, &format!("names {id}"));
        Self {
            id,
            disk: Disk::new(Dice::of(common.seed, &format!("disk {id}")), common.planted),
            snapshots: Snapshots::in_memory(),
            plate: Plate::in_memory(CLUSTER, names.name()),
            clock: Arc::new(clock),
            names,
        }
    }
}

/// A node that runs.
pub(super) struct Host {
    pub(super) life: Life,
    pub(super) cluster: Cluster<Registers>,
    pub(super) node: Arc<dyn Propose>,
    disk: Disk,
    ended: watch::Sender<bool>,
    /// What it does beside being a node.
    tasks: Mutex<JoinSet<()>>,
}

pub(super) fn address(id: NodeId) -> String {
    format!("node-{id}:1")
}

impl Host {
    pub(super) fn start(common: &Common, seat: &mut Seat) -> Self {
        let id = seat.id;
        let (life, mut callers) = common.world.begin(id, &address(id));
        let mut config =
            Config::new(address(id)).cluster(CLUSTER).node_id(id).in_memory().snapshot_every(SNAPSHOT_EVERY);
        for (id, member) in &common.founders {
            config = config.founder(*id, member.clone());
        }
        let world = simulated::World {
            connect: Arc::new(Wires { world: Arc::clone(&common.world), me: life }),
            clock: Arc::clone(&seat.clock),
            client: seat.names.name(),
            disk: life::Disk {
                log: seat.disk.open(),
                snapshots: seat.snapshots.clone(),
                plate: seat.plate.clone(),
            },
        };
        let machine = Registers::new(id, Arc::clone(&common.witness));
        let (cluster, server) = Cluster::simulated(config, machine, world);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Some(wire) = callers.recv().await {
                let server = server.clone();
                connections.spawn(async move { server.serve(wire, "a simulated node").await });
                while connections.try_join_next().is_some() {}
            }
        });
        tasks.spawn(singleton(id, cluster.clone(), Arc::clone(&common.terms)));
        let (node, ended) = (cluster.proposing(), watch::Sender::new(false));
        Self { life, cluster, node, disk: seat.disk.clone(), ended, tasks: Mutex::new(tasks) }
    }

    /// It dies without a word, and what it wrote last is lost, or some of it.
    ///
    /// What is left of it until its last handle is gone talks to nobody and writes nothing.
    pub(super) fn crash(&self, world: &World) {
        world.end(self.life);
        self.disk.crash();
        self.ended.send_replace(true);
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }

    pub(super) fn ended(&self) -> watch::Receiver<bool> {
        self.ended.subscribe()
    }
}

/// What may run on one node at a time.
async fn singleton(id: NodeId, cluster: Cluster<Registers>, terms: Arc<Terms>) {
    loop {
        if cluster.wait_for_leadership(Duration::from_secs(1)).await.is_err() {
            continue;
        }
        let body = async |fence: crate::Fence| {
            let _running = terms.begin(id.to_string(), fence.term);
            std::future::pending::<()>().await;
        };
        // It ends when leadership does, and in no other way.
        let _ended = cluster.run_if_leader(body).await;
    }
}
