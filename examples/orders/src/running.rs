//! A node together with its HTTP server: they start and stop as one.
use std::{fmt, net::SocketAddr, time::Duration};

use convoke::{
    App, Config, Error, LeaveReport, Node,
    http::{Drained, ServeConfig, ServeError, serve},
};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tracing::info;

use crate::{
    EventFeed,
    http::{Guards, InCluster, router},
    settings::Role,
};

/// How long requests in flight may take once the node is told to stop and load balancers know.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(4);
/// How long handlers may take after that. With a delay of a second the whole stop stays below ten.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(3);

/// How a node's HTTP side is set up.
#[derive(Debug)]
pub struct Http {
    /// The socket, bound already: a port that is taken is found before anything is connected.
    pub listener: TcpListener,
    /// The limits, and TLS.
    pub config: ServeConfig,
    /// What is served.
    pub role: Role,
    /// Who may come in.
    pub guards: Guards,
    /// The node's cluster, when it has one.
    pub cluster: Option<InCluster>,
}

/// A running node and its HTTP server.
#[derive(Debug)]
pub struct Running {
    node: Node,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    serving: JoinHandle<Result<Drained, ServeError>>,
}

/// How a node ended.
#[derive(Debug, Clone, Copy)]
pub struct Report {
    /// HTTP requests that were cut off.
    pub http_aborted: usize,
    /// What became of the work in flight.
    pub left: LeaveReport,
}

/// The framework's configuration, in this namespace.
#[must_use]
pub fn node_config(namespace: &str) -> Config {
    let mut config = Config::default();
    namespace.clone_into(&mut config.namespace);
    config.leave_timeout = LEAVE_TIMEOUT;
    config
}

/// Binds a socket. `flag` is what chooses another one.
///
/// # Errors
/// A sentence that says what to do.
pub async fn listen(address: &str, flag: &str) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|error| {
        Error::start(format!(
            "cannot listen on {address} ({error}): choose another one with {flag}, or stop the program that has it"
        ))
    })
}

impl Running {
    /// Starts the node, then serves.
    ///
    /// # Errors
    /// What is wrong for good, as a sentence.
    pub async fn start(app: App, feed: EventFeed, http: Http) -> Result<Self, Error> {
        let Http { listener, config, role, guards, cluster } = http;
        let address = listener.local_addr().map_err(|error| Error::start(error.to_string()))?;
        let node = app.start().await?;
        let router = router(node.mediator(), feed, role, guards, cluster);
        let (stop, mut stopped) = watch::channel(false);
        let serving = serve(listener, router, config.drain_timeout(DRAIN_TIMEOUT)).graceful(async move {
            let _ = stopped.wait_for(|stop| *stop).await; // an error is the end as well
        });
        let serving = tokio::spawn(serving.into_future());
        Ok(Self { node, address, stop, serving })
    }

    /// Where HTTP is served.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The node.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Runs until the future ends, then stops in order: readiness, after a delay no new connection, the requests in
    /// flight, the node.
    ///
    /// # Errors
    /// What failed for good.
    pub async fn run_until(self, shutdown: impl Future<Output = ()>) -> Result<Report, Error> {
        let Self { node, stop, mut serving, .. } = self;
        let id = node.id().to_owned();
        let notice = node.stop_notice();
        let mut ended = None;
        let left = node.run_until(async {
            tokio::select! {
                () = shutdown => {
                    info!(node = id, "stopping");
                    notice.give(); // open connections see it while their requests are finished
                    stop.send_replace(true);
                    ended = Some((&mut serving).await);
                }
                early = &mut serving => ended = Some(early), // it could not start
            }
        });
        let left = left.await;
        stop.send_replace(true);
        let ended = match ended {
            Some(ended) => ended,
            None => serving.await,
        };
        let failed = |error: &dyn std::error::Error| Error::start(error.to_string());
        let drained = ended.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
        Ok(Report { http_aborted: drained.aborted, left: left? })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LeaveReport { finished, handed_back, lost, waiting } = self.left;
        let http_aborted = self.http_aborted;
        write!(
            f,
            "finished {finished}, handed back {handed_back}, lost {lost}, left in the outbox {waiting}; HTTP requests cut off: {http_aborted}"
        )
    }
}
