use std::{
    io,
    path::PathBuf,
    sync::{Arc, RwLock},
    time::{SystemTime, UNIX_EPOCH},
};

use convoke_core::Leadership;
use tokio::{
    net::TcpListener,
    sync::watch,
    time::{Duration, Instant, sleep},
};
use uuid::Uuid;

use super::{Cluster, Inner};
use crate::{
    Config, Error, StateMachine,
    engine::{
        door::Door,
        life::{Disk, Life, Phase, disk_failed},
        log::Log,
        net::{Connect, Identity, Listener, Net, Plain, Server, Tcp, Timing},
        node::Clock,
        plate::Plate,
        snapshot::Snapshots,
    },
    replicated::System,
};

/// Connections that are open at once, whoever they are from.
const CONNECTIONS_MAX: usize = 512;
/// How long the start waits to hear that this node is refused. Later it is an error of every call, and in the log.
const REFUSAL_WITHIN: Duration = Duration::from_millis(300);

/// What a node needs of the world around it. A simulation brings its own.
pub(crate) struct World {
    pub(crate) connect: Arc<dyn Connect>,
    pub(crate) clock: Clock,
    /// What this run of the node calls itself.
    pub(crate) client: Uuid,
    pub(crate) disk: Disk,
}

impl<M: StateMachine> Cluster<M> {
    /// Starts this node with a state machine of your own, in its first state. What was kept is restored into it.
    ///
    /// # Errors
    /// A configuration that is wrong, a port that is taken, a disk that cannot be used; and that the cluster refuses
    /// this node, when that is heard soon.
    pub async fn start_with(config: Config, machine: M) -> Result<Self, Error> {
        config.check()?;
        if let Some(lease) = config.lease.filter(|lease| *lease > config.timing.lease()) {
            let clamped = config.timing.lease();
            tracing::warn!(
                ?lease,
                ?clamped,
                "the election timeout allows no longer lease, so it is shortened"
            );
        }
        let socket = TcpListener::bind(&config.listen).await;
        let socket = socket.map_err(|error| {
            Error::config(format!("`listen_address` {:?} cannot be listened at: {error}", config.listen))
                .because(error)
        })?;
        let listens = socket.local_addr().map_err(disk_failed)?;
        let address = config.address(listens);
        let disk = open(&config).await.map_err(disk_failed)?;
        let world = World { connect: Arc::new(Tcp), clock: running_clock(), client: Uuid::now_v7(), disk };
        let (mut inner, server) = Inner::launch(config, address, machine, world);
        let listener = Listener {
            socket,
            secure: Arc::new(Plain),
            server,
            connections_max: CONNECTIONS_MAX,
            secure_within: Timing::default().handshake,
        };
        inner.tasks.push(tokio::spawn(listener.run()).abort_handle());
        inner.listens = Some(listens);
        let cluster = Self { inner: Arc::new(inner) };
        cluster.welcome().await?;
        Ok(cluster)
    }

    /// Returns as soon as the node has its place, and at the latest when it is not refused for a while.
    async fn welcome(&self) -> Result<(), Error> {
        let mut phase = self.inner.phase.subscribe();
        let settled = async { phase.wait_for(|phase| !matches!(phase, Phase::Waiting(_))).await.map(|_| ()) };
        tokio::select! {
            _ = settled => {}
            () = sleep(REFUSAL_WITHIN) => return Ok(()),
        }
        self.inner.phase.borrow().node().map(|_| ())
    }
}

impl<M: StateMachine> Inner<M> {
    /// Brings a node to life. What comes back serves the connections that others make to it.
    pub(crate) fn launch(config: Config, address: String, machine: M, world: World) -> (Self, Server) {
        let World { connect, clock, client, disk } = world;
        let identity = Identity::new(&config.cluster, None);
        let net = Net::new(identity.clone(), Timing::default(), connect);
        let door = Arc::new(Door::closed());
        let server = net.server(Arc::clone(&door) as _);
        let system = Arc::new(RwLock::new(System::new(machine)));
        let (applied, applied_here) = watch::channel(0);
        let phase = watch::Sender::new(Phase::Waiting("this node looks for its place".to_owned()));
        let leadership = watch::Sender::new(Leadership::NoLeader);
        let life = Life {
            config: config.clone(),
            address,
            disk,
            system: Arc::clone(&system),
            net,
            identity,
            door,
            clock,
            client,
            applied,
            phase: phase.clone(),
            leadership: leadership.clone(),
        };
        let tasks = vec![tokio::spawn(life.live()).abort_handle()];
        let inner = Self { config, listens: None, phase, leadership, applied: applied_here, system, tasks };
        (inner, server)
    }
}

/// Opens what the disk has, away from the runtime: it may be much.
async fn open(config: &Config) -> io::Result<Disk> {
    let (cluster, new) = (config.cluster.clone(), Uuid::now_v7());
    let Some(path) = config.path.clone() else {
        return Ok(Disk {
            log: Log::in_memory(),
            snapshots: Snapshots::in_memory(),
            plate: Plate::in_memory(&cluster, new),
        });
    };
    let durability = config.durability;
    let open = move |path: PathBuf| {
        // The log is locked: first of all nobody else may be at work here.
        let log = Log::open(&path.join("log"), durability)?;
        let plate = Plate::open(&path, &cluster, new)?;
        let snapshots = Snapshots::open(&path.join("snapshots"))?;
        Ok(Disk { log, snapshots, plate })
    };
    tokio::task::spawn_blocking(move || open(path)).await.map_err(io::Error::other)?
}

/// What the wall clock shows now, running on from there: setting it later would end leases early.
fn running_clock() -> Clock {
    // A clock before 1970 is wrong anyway, and time in the log never goes back.
    let (wall, begun) = (SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(), Instant::now());
    Arc::new(move || u64::try_from((wall + begun.elapsed()).as_millis()).unwrap_or(u64::MAX))
}
