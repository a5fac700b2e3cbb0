use std::convert::Infallible;
use std::fmt;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;

mod accept;
mod answer;
mod body;
mod config;
mod connection;
mod drain;
mod error;
mod pulse;
mod tls;
mod wire;

pub use config::{ServeConfig, TlsConfig};
pub use drain::Drained;
pub use error::{ServeError, ServeErrorKind};
pub(crate) use tls::certificates;

use accept::Refusals;
use answer::Answerer;
use connection::{Accepted, Connections};
use drain::{Stage, Tally};

/// Serves a router over HTTP/1.1, with a deadline on everything a client can hold up.
///
/// `axum::serve` has no timer: a head that is never finished stays open for ever. Here heads, bodies,
/// handlers, responses and idle connections all have their time, bytes and connections are counted, and a
/// shutdown lets the requests in flight finish. A handler finds its client's address as
/// `axum::extract::ConnectInfo<SocketAddr>`; one that panics costs its caller a 500.
///
/// Nothing happens until the [`Serving`] is awaited. Dropping its future closes every connection.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use axum::{Router, routing::get};
/// use convoke_axum::{ServeConfig, serve};
///
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// let router = Router::new().route("/", get(|| async { "hello" }));
/// let serving = serve(listener, router, ServeConfig::default());
/// println!("listening on {}", serving.local_addr()?);
/// let drained = serving.graceful(async { /* until a signal */ }).await?;
/// assert_eq!(drained.aborted, 0);
/// # Ok(())
/// # }
/// ```
pub fn serve(listener: TcpListener, router: Router, config: ServeConfig) -> Serving {
    Serving { listener, router, config, shutdown: pending().boxed() }
}

/// A server that runs when it is awaited.
#[must_use = "a server runs only when it is awaited"]
pub struct Serving {
    listener: TcpListener,
    router: Router,
    config: ServeConfig,
    shutdown: BoxFuture<'static, ()>,
}

impl Serving {
    /// The address the server listens on.
    ///
    /// # Errors
    ///
    /// When the operating system does not know it.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Ends the server when `shutdown` is ready. For `drain_delay` everything is answered as before, and each answer
    /// closes its connection. Then: no new connections, idle ones are closed at once, requests in flight have
    /// `drain_timeout` to finish.
    pub fn graceful<F>(mut self, shutdown: F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.shutdown = shutdown.boxed();
        self
    }

    async fn run(self) -> Result<Drained, ServeError> {
        let Self { listener, router, config, shutdown } = self;
        config.check()?;
        let tls = config.tls.as_ref().map(tls::acceptor).transpose()?;
        let answerer = Answerer::new(router, &config);
        let tally = Arc::new(Tally::default());
        let connections = Arc::new(Connections::new(&config, tls, answerer, Arc::clone(&tally)));
        let stage = watch::Sender::new(Stage::Running);
        let leave = async {
            shutdown.await;
            if !config.drain_delay.is_zero() {
                connections.leave();
                sleep(config.drain_delay).await;
            }
        };
        tokio::select! {
            () = leave => {}
            never = accept_all(&listener, &connections, config.connections_max, &stage) => match never {},
        }
        // Whoever comes from now on is refused by the operating system, and can go to another node.
        drop(listener);
        Ok(tally.drain(stage, config.drain_timeout).await)
    }
}

impl IntoFuture for Serving {
    type Output = Result<Drained, ServeError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.run().boxed()
    }
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving")
            .field("listener", &self.listener)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

async fn accept_all(
    listener: &TcpListener,
    connections: &Arc<Connections>,
    connections_max: usize,
    stage: &watch::Sender<Stage>,
) -> Infallible {
    let permits = Arc::new(Semaphore::new(connections_max));
    let mut refusals = Refusals::default();
    loop {
        let (stream, peer) = accept::accept(|| listener.accept()).await;
        let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
            refusals.add(connections_max);
            continue;
        };
        let accepted = Accepted { stream, peer, permit, stage: stage.subscribe() };
        let connections = Arc::clone(connections);
        tokio::spawn(async move { connections.serve(accepted).await });
    }
}
