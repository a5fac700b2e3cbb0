mod health;

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tracing::{info, warn};

use crate::{
    Audience, Config, DeadLetters, Error, LeaveReport, Mediator, NodeIdentity, OutboxLag, Stores, Transport,
    TransportHealth,
    endpoint::{Endpoint, Server},
    leading::Leading,
    mediator::Budget,
    relay::{Relay, Task},
    singleton,
    wall::Wall,
};

pub use health::{ClusterHealth, Dependency, Health};

/// What all parts of a running node share.
pub(crate) struct NodeInner {
    pub(crate) identity: NodeIdentity,
    pub(crate) config: Config,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) stores: Stores,
    /// When the stores have an outbox.
    pub(crate) relay: Option<Relay>,
    /// Whether anything here needs the stores.
    pub(crate) needs_stores: bool,
    /// Handlers of commands and queries, by wire name.
    pub(crate) endpoints: HashMap<&'static str, Arc<Endpoint>>,
    pub(crate) budget: Budget,
    /// When it belongs to a cluster.
    pub(crate) leading: Option<Leading>,
    pub(crate) wall: Wall,
    /// Replays that have not reached the end of their stream yet.
    pub(crate) replaying: Mutex<HashSet<Audience>>,
    pub(crate) stopping: watch::Sender<bool>,
    /// Readiness is gone, and the stop will follow.
    pub(crate) announced: AtomicBool,
}

impl NodeInner {
    pub(crate) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Waits until the node stops.
    pub(crate) async fn stopping(&self) {
        let _ = self.stopping.subscribe().wait_for(|stopping| *stopping).await; // the sender lives in self
    }

    /// This node's own handler of a request, unless a test wants everything to travel.
    pub(crate) fn own_server(self: &Arc<Self>, name: &str) -> Option<Server> {
        let endpoint = self.endpoints.get(name)?;
        let here = !self.encodes_always();
        here.then(|| Server::new(self.clone(), endpoint.clone()))
    }

    /// Whether the bus wants everything to travel, as a test's does.
    fn encodes_always(&self) -> bool {
        self.transport.in_process().is_some_and(crate::InProcess::encodes)
    }

    pub(crate) fn caught_up(&self, audience: &Audience) {
        self.replaying.lock().unwrap_or_else(PoisonError::into_inner).remove(audience);
    }

    fn stop(&self) {
        self.stopping.send_replace(true);
    }
}

/// A running node: owns what consumes and serves. Made by `App::start`.
///
/// Dropping it stops the intake at once; [`Node::stop`] also finishes what is in flight.
pub struct Node {
    inner: Arc<NodeInner>,
    _relaying: Option<Task>,
    singletons: JoinSet<()>,
    stopped: bool,
}

impl Node {
    pub(crate) fn new(inner: Arc<NodeInner>) -> Self {
        let _relaying = Task::start(&inner);
        Self { inner, _relaying, singletons: JoinSet::new(), stopped: false }
    }

    /// Everything else was started.
    pub(crate) fn start_singletons(&mut self) {
        self.singletons = singleton::start(&self.inner);
    }

    /// A handle for sending and asking.
    pub fn mediator(&self) -> Mediator {
        Mediator::of(self.inner.clone())
    }

    /// What the handlers of this namespace could not handle: to look at, to replay, to drop. `None`: the transport
    /// keeps it out of reach.
    pub fn dead_letters(&self) -> Option<Arc<dyn DeadLetters>> {
        self.inner.transport.dead_letters()
    }

    /// The node's id, stable over restarts.
    pub fn id(&self) -> &str {
        &self.inner.identity.node
    }

    /// How this node and what it depends on stand now. Takes at most half a second.
    pub async fn health(&self) -> Health {
        self.inner.health().await
    }

    /// How far the service's outbox is behind, as this node last saw it. `None`: its stores have no outbox.
    pub fn outbox(&self) -> Option<OutboxLag> {
        self.inner.relay.as_ref().map(Relay::lag)
    }

    /// Waits until the node is ready: connected, declared, views replayed.
    ///
    /// # Errors
    /// What is missing, when the time is up or a dependency failed for good.
    pub async fn ready(&self, within: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + within;
        loop {
            let health = self.health().await;
            if health.is_ready() {
                return Ok(());
            }
            if Instant::now() >= deadline || health.failed().is_some() {
                return Err(Error::start(health.to_string()));
            }
            tokio::time::sleep(READY_PAUSE).await;
        }
    }

    /// Drops readiness ahead of the stop; see [`StopNotice`].
    pub fn stop_notice(&self) -> StopNotice {
        StopNotice(self.inner.clone())
    }

    /// Runs until the future ends, then stops in order. Ends with an error when something fails for good, such
    /// as credentials that are refused when the broker comes back.
    ///
    /// # Errors
    /// What failed.
    pub async fn run_until(self, shutdown: impl Future<Output = ()>) -> Result<LeaveReport, Error> {
        let failed = tokio::select! {
            () = shutdown => None,
            sentence = self.failure() => Some(sentence),
        };
        let report = self.stop().await;
        match failed {
            None => Ok(report),
            Some(sentence) => Err(Error::start(sentence)),
        }
    }

    /// Waits for a failure that does not pass.
    async fn failure(&self) -> String {
        loop {
            if let TransportHealth::Failed(sentence) = self.inner.transport.health() {
                return sentence;
            }
            tokio::time::sleep(FAILURE_PAUSE).await;
        }
    }

    /// Stops in order: readiness drops, singletons end and leadership is transferred, groups are left without losing
    /// a request, what runs is finished or handed back, what lies in the outbox is published, the connection and the
    /// membership of the cluster end. Takes at most the configuration's `leave_timeout` and a second.
    pub async fn stop(mut self) -> LeaveReport {
        self.inner.stop();
        let deadline = Instant::now() + self.inner.config.leave_timeout;
        if let Some(leading) = &self.inner.leading {
            leading.step_down(deadline).await;
        }
        let mut report = self.inner.transport.leave(deadline).await;
        // Calls that never left the process are in no transport's count.
        let calls = futures_util::future::join_all(self.inner.endpoints.values().map(|e| e.gate.empty()));
        let _ = timeout_at(deadline, calls).await; // their callers are in this process, and see the end
        report.waiting = self.inner.drain_outbox(deadline).await;
        let closed = Instant::now() + CLOSE_TIMEOUT;
        let left = async {
            if let Some(leading) = &self.inner.leading {
                leading.leave(closed).await;
            }
        };
        futures_util::future::join(self.inner.transport.close(closed), left).await;
        self.stopped = true; // not before: a stop that is cut short is a drop
        let LeaveReport { finished, handed_back, lost, waiting } = report;
        let node = self.id();
        if lost > 0 {
            warn!(
                node,
                finished, handed_back, lost, waiting, "the node stopped before all its work was done"
            );
        } else {
            info!(node, finished, handed_back, lost, waiting, "the node stopped");
        }
        report
    }
}

/// Drops a node's readiness while it still works: for whoever has something to do between the signal and
/// [`Node::stop`], such as a server in front of the node that finishes its requests.
#[derive(Clone)]
pub struct StopNotice(Arc<NodeInner>);

impl StopNotice {
    /// From now on the node's health says that it is stopping. Nothing else changes.
    pub fn give(&self) {
        self.0.announced.store(true, Ordering::Relaxed);
    }
}

impl fmt::Debug for StopNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StopNotice")
    }
}

/// How often readiness is looked at.
const READY_PAUSE: Duration = Duration::from_millis(20);
/// How often a failure for good is looked for.
const FAILURE_PAUSE: Duration = Duration::from_millis(250);
/// How long flushing and closing may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

impl Drop for Node {
    fn drop(&mut self) {
        if !self.stopped {
            self.inner.stop();
            if let Some(leading) = &self.inner.leading {
                leading.abandon();
            }
            self.inner.transport.abandon();
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("identity", &self.inner.identity).finish_non_exhaustive()
    }
}
