use std::{
    io,
    path::PathBuf,
    sync::{Arc, RwLock},
    time::{SystemTime, UNIX_EPOCH},
};

use convoke_core::Leadership;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    time::{Duration, Instant, sleep},
};
use uuid::Uuid;

use super::{Cluster, Inner, measure::Gauges};
use crate::engine::runtime::watch;
use crate::{
    Config, Error, StateMachine,
    engine::{
        door::Door,
        life::{Disk, Keeps, Life, Phase, disk_failed},
        log::Log,
        net::{Connect, Identity, Listener, Net, Plain, Secure, Tcp, Timing, Tls, Upgrade},
        node::Clock,
        plate::Plate,
        salvage,
        snapshot::Snapshots,
    },
    metrics::export,
    replicated::System,
};
#[expect(unused_imports, reason = "named in the documentation")]
use crate::{UPGRADE_PATH, UPGRADE_PROTOCOL};

/// Connections that are open at once, whoever they are from.
const CONNECTIONS_MAX: usize = 512;
/// How long another one may still listen at our address.
const LISTEN_WAIT_MAX: Duration = Duration::from_secs(2);
/// How often it is looked whether it ended.
const LISTEN_WAIT_STEP: Duration = Duration::from_millis(20);
/// How long the start waits to hear that this node is refused. Later it is an error of every call, and in the log.
const REFUSAL_WITHIN: Duration = Duration::from_millis(300);

/// What a node needs of the world around it. A simulation brings its own.
pub(crate) struct World<L = Log> {
    pub(crate) connect: Arc<dyn Connect>,
    pub(crate) clock: Clock,
    /// What this run of the node calls itself.
    pub(crate) client: Uuid,
    pub(crate) disk: Disk<L>,
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
        let tls = config.tls.as_ref().map(Tls::open).transpose()?;
        // Members that meet at HTTP servers have no port of their own.
        let socket = if config.upgraded { None } else { Some(listen(&config.listen).await?) };
        let listens = socket.as_ref().map(TcpListener::local_addr).transpose().map_err(disk_failed)?;
        let is_open = config.secret.is_none() && config.tls.is_none();
        if let Some(listens) = listens.filter(|listens| is_open && !listens.ip().is_loopback()) {
            tracing::warn!(%listens, "no secret and no TLS: whoever reaches this port can pretend to be a member");
        }
        let address = config.address(listens);
        let name = config.name(&address);
        salvage::recover(&config).await?;
        let disk = open(&config).await.map_err(disk_failed)?;
        let (connect, secure) = wires(tls, config.upgraded);
        let measured = disk.log.clone();
        let world = World { connect, clock: running_clock(), client: Uuid::now_v7(), disk };
        let mut inner = Inner::launch(config, address, machine, world, measured);
        if let Some(socket) = socket {
            let listener = Listener {
                socket,
                secure,
                server: inner.server.clone(),
                connections_max: CONNECTIONS_MAX,
                secure_within: Timing::default().handshake,
            };
            inner.tasks.push(tokio::spawn(listener.run()).abort_handle());
        }
        inner.listens = listens;
        let cluster = Self { inner: Arc::new(inner) };
        let node = Arc::downgrade(&cluster.inner);
        export(&name, Arc::new(move || node.upgrade().map(|node| node.metrics())));
        cluster.welcome().await?;
        Ok(cluster)
    }

    /// Serves a connection of another member that arrived at an HTTP server of ours: a `GET` of [`UPGRADE_PATH`] with
    /// `Upgrade:` [`UPGRADE_PROTOCOL`], answered with `101`. Returns when it ends. `from` is for the log.
    pub async fn serve_upgraded(
        &self,
        wire: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        from: &str,
    ) {
        self.inner.server.serve(Box::new(wire), from).await;
    }

    /// Returns as soon as the node has its place, and at the latest when it is not refused for a while.
    async fn welcome(&self) -> Result<(), Error> {
        let mut phase = self.inner.phase.subscribe();
        let settled = async { phase.wait_for(|phase| !matches!(phase, Phase::Waiting(_))).await.map(|_| ()) };
        tokio::select! {
            biased;
            _ = settled => {}
            () = sleep(REFUSAL_WITHIN) => return Ok(()),
        }
        self.inner.phase.borrow().node().map(|_| ())
    }
}

impl<M: StateMachine> Inner<M> {
    /// Brings a node to life. Its `server` serves the connections that others make to it. `measured` is the log whose
    /// metrics are told.
    pub(crate) fn launch<L: Keeps>(
        config: Config,
        address: String,
        machine: M,
        world: World<L>,
        measured: Log,
    ) -> Self {
        let World { connect, clock, client, disk } = world;
        let identity = Identity::new(&config.cluster, config.secret.as_ref());
        let net = Net::new(identity.clone(), Timing::default(), connect);
        let door = Arc::new(Door::closed());
        let server = net.server(Arc::clone(&door) as _);
        let system = Arc::new(RwLock::new(System::new(machine)));
        let (applied, applied_here) = watch::channel(0);
        let phase = watch::Sender::new(Phase::Waiting("this node looks for its place".to_owned()));
        let leadership = tokio::sync::watch::Sender::new(Leadership::NoLeader);
        let gauges = Gauges { log: measured, snapshots: disk.snapshots.clone() };
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
        Self {
            config,
            listens: None,
            phase,
            leadership,
            applied: applied_here,
            system,
            server,
            gauges,
            tasks,
        }
    }
}

/// How members are called, and what becomes of their calls before the handshake.
fn wires(tls: Option<Tls>, upgraded: bool) -> (Arc<dyn Connect>, Arc<dyn Secure>) {
    let plain: Arc<dyn Connect> = Arc::new(Tcp);
    let connect = match (&tls, upgraded) {
        (None, false) => plain,
        (None, true) => Arc::new(Upgrade::new(plain)),
        (Some(tls), false) => tls.over(plain),
        (Some(tls), true) => Arc::new(Upgrade::new(tls.over_to_http(plain))),
    };
    let secure = tls.map_or_else(|| Arc::new(Plain) as Arc<dyn Secure>, |tls| Arc::new(tls));
    (connect, secure)
}

/// Listens at this address. One who listened there before may be about to end.
async fn listen(address: &str) -> Result<TcpListener, Error> {
    let until = Instant::now() + LISTEN_WAIT_MAX;
    loop {
        match TcpListener::bind(address).await {
            Ok(socket) => return Ok(socket),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < until => {
                sleep(LISTEN_WAIT_STEP).await;
            }
            Err(error) => {
                let text = format!("`listen_address` {address:?} cannot be listened at: {error}");
                return Err(Error::config(text).because(error));
            }
        }
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
