//! Nodes that form a cluster: one leads, gives out shipping numbers and reports; all keep the orders, when nobody else
//! does.
mod peers;

use convoke::{
    App, Error, SingletonContext,
    cluster::{Cluster, Config, Member, Timing, kv::Kv},
    http::{ForwardKey, HttpForwarder},
    stores_in_process,
};
use serde_json::json;
use std::time::Duration;
use tracing::info;

use crate::{Repository, repository::ClusterOrders, settings::Settings, shipping::Shipping};

pub use peers::{Layout, Peer};

/// How often the leader reports on the outbox.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// Where the report lies.
pub const REPORT: &str = "report/outbox";
/// What nodes on one machine sign their requests with when nobody gave them a secret.
const LOOPBACK_SECRET: &str = "orders on one machine: not a secret";

/// This node's part in the cluster.
#[derive(Debug, Clone)]
pub struct Membership {
    cluster: Cluster,
    key: ForwardKey,
}

impl Membership {
    /// Starts the node of the cluster. `None`: the settings speak of none.
    ///
    /// # Errors
    /// What is wrong for good, as a sentence.
    pub async fn start(settings: &Settings) -> Result<Option<Self>, Error> {
        if !settings.cluster.enabled {
            return Ok(None);
        }
        let layout = Layout::of(settings).map_err(Error::start)?;
        let key = key(settings, &layout)?;
        let peer = layout.own();
        let state = settings.cluster.state.join(&peer.name);
        let preset = &settings.cluster.preset;
        let timing = Timing::named(preset).ok_or_else(|| {
            Error::start(format!("`cluster.preset` is `{preset}`: use lan-fast, default or wan"))
        })?;
        let mut config = Config::new(format!("{}:{}", layout.listen_host(), peer.raft_port))
            .cluster(&settings.namespace)
            .node(&peer.name)
            .node_id(layout.own_id())
            .http(peer.url())
            .timing(timing)
            .persistent(state);
        for (id, peer) in layout.peers() {
            config = config.founder(id, Member::new(&peer.name, peer.raft()).http(peer.url()));
        }
        let cluster = Cluster::start(config).await.map_err(|error| Error::start(error.to_string()))?;
        Ok(Some(Self { cluster, key }))
    }

    /// The app with what the cluster adds: handlers for the leader, and the singleton that reports.
    #[must_use]
    pub fn join(&self, app: App, orders: Repository) -> App {
        let kv = self.kv();
        app.cluster(self.cluster.clone())
            .service(Shipping::new(self.kv(), orders))
            .singleton("outbox-report", move |cx| report(cx, kv.clone()))
    }

    /// The app without a message bus: its nodes forward over HTTP, and the cluster keeps the orders.
    #[must_use]
    pub fn without_bus(&self, app: App) -> App {
        app.forwarder(HttpForwarder::new(self.key.clone())).stores(stores_in_process())
    }

    /// Orders that the cluster keeps.
    #[must_use]
    pub fn orders(&self) -> Repository {
        std::sync::Arc::new(ClusterOrders::new(self.kv()))
    }

    /// The replicated key-value store.
    #[must_use]
    pub fn kv(&self) -> Kv {
        self.cluster.kv()
    }

    /// The cluster itself, for its locks.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// What the nodes sign forwarded requests with.
    #[must_use]
    pub fn key(&self) -> ForwardKey {
        self.key.clone()
    }
}

/// On the leader, and there alone: writes down how far the outbox is behind. A report of a former leader is refused.
async fn report(cx: SingletonContext, kv: Kv) -> Result<(), convoke::cluster::Error> {
    let fence = cx.fence();
    info!(node = cx.node(), term = fence.term, "{} reports on the outbox in term {}", cx.node(), fence.term);
    loop {
        let waiting = cx.mediator().health().await.outbox.map(|outbox| outbox.waiting);
        let report = json!({
            "node": cx.node(),
            "term": fence.term,
            "index": fence.index,
            "outboxWaiting": waiting,
            "at": jiff::Timestamp::now(),
        });
        kv.put(REPORT, report.to_string().into_bytes()).fence(REPORT, fence.term).await?;
        tokio::time::sleep(REPORT_EVERY).await;
    }
}

/// On one machine no secret is needed; over a network anybody could send orders without one.
fn key(settings: &Settings, layout: &Layout) -> Result<ForwardKey, Error> {
    let secret = match &settings.cluster.secret {
        Some(secret) => secret.0.as_str(),
        None if layout.is_on_loopback() => LOOPBACK_SECRET,
        None => {
            return Err(Error::start(
                "the nodes of a cluster need a secret in common: give each the same --cluster-secret, such as the output of `openssl rand -hex 32`",
            ));
        }
    };
    ForwardKey::new(secret).map_err(|error| Error::start(error.to_string()))
}
