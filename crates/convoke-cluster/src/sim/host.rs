//! A node of a simulation: real but for its network, its disk and its clock.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use convoke_testing::history::Terms;
use tokio::{task::JoinSet, time::Instant};

use super::{
    dice::Dice,
    disk::Disk,
    planted::Planted,
    registers::{Registers, Witness},
    wires::Wires,
    world::{Life, World},
};
use crate::{
    Cluster, Config, Member, NodeId, Timing,
    cluster::simulated,
    engine::{life, node::Clock, plate::Plate, runtime::watch, snapshot::Snapshots},
    propose::Propose,
};

/// Some time in 2023.
const CLOCK_START_MS: u64 = 1_700_000_000_000;
const CLUSTER: &str = "simulated";
/// How wrong the rate of a clock may be.
const SLOWER_MAX: i64 = 50;

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
    /// Entries between snapshots: so few that a run sees them made, sent and installed.
    pub(super) snapshot_every: u64,
}

/// What of a node outlives its crashes.
pub(super) struct Seat {
    /// Which machine it is on. A founder has the number of its machine in the cluster, too; others are given one.
    pub(super) machine: u64,
    pub(super) disk: Disk,
    name: String,
    snapshots: Snapshots,
    plate: Plate,
    clock: Clock,
    skew: Skew,
    names: Dice,
}

/// How wrong a node's wall clock is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Skew {
    pub(super) ahead_ms: i64,
    /// How much faster it runs, in thousandths.
    pub(super) faster: i64,
    /// How much longer the node takes a time to be that is to pass, in thousandths: its other clock is that slow.
    pub(super) slower: i64,
}

impl Skew {
    /// Some clock, or one that is right.
    pub(super) fn drawn(dice: &mut Dice, skewed: bool) -> Self {
        if !skewed {
            return Self::default();
        }
        let (ahead_ms, faster) = (dice.around(250), dice.around(20));
        Self { ahead_ms, faster, slower: dice.around(SLOWER_MAX) }
    }

    /// What this node makes of a time. All of them share one clock here.
    fn of(self, time: Duration) -> Duration {
        let thousandths = u32::try_from(1000 + self.slower).expect("a clock does not stand still");
        time * thousandths / 1000
    }
}

impl Seat {
    pub(super) fn new(common: &Common, machine: u64, name: String, skew: Skew) -> Self {
        let start = common.start;
        let clock = move || {
            let passed = i64::try_from(start.elapsed().as_millis()).expect("a run is short");
            CLOCK_START_MS.saturating_add_signed(passed + passed * skew.faster / 1000 + skew.ahead_ms)
        };
        let mut names = Dice::of(common.seed, &format!("names {machine}"));
        Self {
            machine,
            disk: Disk::new(Dice::of(common.seed, &format!("disk {machine}")), common.planted),
            name,
            snapshots: Snapshots::in_memory(),
            plate: Plate::in_memory(CLUSTER, names.name()),
            clock: Arc::new(clock),
            skew,
            names,
        }
    }

    /// What the node has on its disk: the number it was given.
    pub(super) fn remember(&mut self, id: Option<NodeId>) {
        self.plate.id = self.plate.id.or(id);
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

pub(super) fn address(machine: u64) -> String {
    format!("node-{machine}:1")
}

impl Host {
    /// The node of this machine starts. One that is no founder looks for the cluster at `others`.
    pub(super) fn start(common: &Common, seat: &mut Seat, others: &[String]) -> Self {
        let machine = seat.machine;
        let (life, mut callers) = common.world.begin(machine, &address(machine));
        let mut config = Config::new(address(machine)).cluster(CLUSTER).node(&seat.name).in_memory();
        let Timing { heartbeat, election: (min, max), .. } = Timing::DEFAULT;
        let (heartbeat, election) = (seat.skew.of(heartbeat), (seat.skew.of(min), seat.skew.of(max)));
        config = config.snapshot_every(common.snapshot_every).timing(Timing::new(heartbeat, election));
        if common.founders.contains_key(&machine) {
            config = config.node_id(machine);
            let founders = common.founders.iter();
            config = founders.fold(config, |config, (id, member)| config.founder(*id, member.clone()));
        } else {
            config = others.iter().fold(config, |config, address| config.join(address));
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
        let registers = Registers::new(life, Arc::clone(&common.witness));
        let (cluster, server) = Cluster::simulated(config, registers, world);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Some(wire) = callers.recv().await {
                let server = server.clone();
                connections.spawn(async move { server.serve(wire, "a simulated node").await });
                while connections.try_join_next().is_some() {}
            }
        });
        tasks.spawn(singleton(machine, cluster.clone(), Arc::clone(&common.terms)));
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
async fn singleton(machine: u64, cluster: Cluster<Registers>, terms: Arc<Terms>) {
    loop {
        if cluster.wait_for_leadership(Duration::from_secs(1)).await.is_err() {
            continue;
        }
        let body = async |fence: crate::Fence| {
            let _running = terms.begin(machine.to_string(), fence.term);
            std::future::pending::<()>().await;
        };
        // It ends when leadership does, and in no other way.
        let _ended = cluster.run_if_leader(body).await;
    }
}
