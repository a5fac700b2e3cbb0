//! A node of the cluster together with its two HTTP servers: they start and stop as one.
use std::{error::Error as _, io, net::SocketAddr, time::Duration};

use axum::Router;
use convoke::http::{Drained, ServeConfig, ServeError, serve};
use convoke_cluster::{Cluster, Config, Coordinator, kv};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle, time::Instant};
use tracing::info;

use crate::{api::Api, cli::Cli, health::Health};

/// How long requests in flight may take once the node was told to stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(4);
/// How much longer the server waits for an answer than the cluster may take: the cluster knows better why.
const GRACE: Duration = Duration::from_secs(1);
/// Connections to the health port at once: some balancers, some people.
const HEALTH_CONNECTIONS_MAX: usize = 128;

/// A running node.
#[derive(Debug)]
pub struct Running {
    name: String,
    cluster: Cluster<kv::Machine>,
    leave_timeout: Duration,
    standing: Health,
    api: Server,
    health: Server,
    raft: SocketAddr,
}

/// A server that ends when it is told to.
#[derive(Debug)]
struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    serving: JoinHandle<Result<Drained, ServeError>>,
}

impl Running {
    /// Starts the node, then serves.
    ///
    /// # Errors
    /// What is wrong for good, as a sentence.
    pub async fn start(cli: &Cli) -> Result<Self, String> {
        let config = cli.config()?;
        // Bound first: a port that is taken is found before anything is begun.
        let api = listen(&cli.api_address(config.node_id), "--port").await?;
        let health = listen(&cli.health_address(config.node_id), "--health-port").await?;
        let Config { node_id, consistency, forward_timeout, leave_timeout, .. } = config;
        let name = node_id.map_or_else(|| "node".to_owned(), |id| format!("node {id}"));
        let cluster = Cluster::start(config).await.map_err(|error| not_started(&error))?;
        let raft = cluster.listens().ok_or("the cluster does not listen")?;
        let standing = Health::new(cluster.clone());
        let routes = Api::new(cluster.kv(), consistency, forward_timeout).router(node_id);
        let limits = ServeConfig::default()
            .request_timeout(forward_timeout + GRACE)
            .drain_delay(cli.drain_delay)
            .drain_timeout(DRAIN_TIMEOUT);
        let api = Server::start(api, routes, limits)?;
        let limits = ServeConfig::default().connections_max(HEALTH_CONNECTIONS_MAX).drain_timeout(GRACE);
        let health = Server::start(health, standing.clone().router(), limits)?;
        Ok(Self { name, cluster, leave_timeout, standing, api, health, raft })
    }

    /// What this node is called in what it says.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the key-value store is served.
    #[must_use]
    pub fn api(&self) -> SocketAddr {
        self.api.address
    }

    /// Where health is told.
    #[must_use]
    pub fn health(&self) -> SocketAddr {
        self.health.address
    }

    /// Where other nodes are heard.
    #[must_use]
    pub fn raft(&self) -> SocketAddr {
        self.raft
    }

    /// Runs until the future ends, then stops in order: health says so, leadership goes to another node, after a delay
    /// no new connection, the requests in flight, the node. Answers how many requests were cut off.
    ///
    /// # Errors
    /// What failed for good.
    pub async fn run_until(mut self, shutdown: impl Future<Output = ()>) -> Result<usize, String> {
        tokio::select! {
            () = shutdown => {}
            ended = &mut self.api.serving => return drained(ended), // it could not start
            ended = &mut self.health.serving => return drained(ended),
        }
        info!("stopping");
        self.standing.leave();
        self.cluster.resign(Instant::now() + self.leave_timeout).await;
        // Requests in flight still reach the new leader through this node.
        let aborted = self.api.stop().await?;
        self.cluster.shutdown().await;
        self.health.stop().await?;
        Ok(aborted)
    }
}

impl Server {
    fn start(listener: TcpListener, routes: Router, limits: ServeConfig) -> Result<Self, String> {
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let (stop, mut stopped) = watch::channel(false);
        let serving = serve(listener, routes, limits).graceful(async move {
            let _ = stopped.wait_for(|stop| *stop).await; // an error is the end as well
        });
        Ok(Self { address, stop, serving: tokio::spawn(serving.into_future()) })
    }

    async fn stop(self) -> Result<usize, String> {
        self.stop.send_replace(true);
        drained(self.serving.await)
    }
}

fn drained(ended: Result<Result<Drained, ServeError>, tokio::task::JoinError>) -> Result<usize, String> {
    let drained = ended.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    Ok(drained.aborted)
}

/// What is wrong, and the flag that helps when it is the port.
fn not_started(error: &convoke_cluster::Error) -> String {
    let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    match source.map(io::Error::kind) {
        Some(io::ErrorKind::AddrInUse) => {
            format!("{error}: choose another port with --raft-port, or stop the program that has it")
        }
        _ => error.to_string(),
    }
}

/// Binds a socket. `flag` is what chooses another one.
async fn listen(address: &str, flag: &str) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| {
        format!(
            "cannot listen on {address} ({error}): choose another port with {flag}, or stop the program that has it"
        )
    })
}
