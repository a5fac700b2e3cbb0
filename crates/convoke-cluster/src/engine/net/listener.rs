use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use convoke_core::BoxFuture;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::serve::Server;
use super::wire::BoxWire;

/// The pause after the first failed accept; each further one in a row doubles it.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How often connections that found no room are mentioned.
const REFUSALS_SAID_EVERY: Duration = Duration::from_secs(1);

/// What becomes of a connection before the handshake: nothing, or TLS.
pub(crate) trait Secure: Send + Sync + 'static {
    /// The wire to talk on. Bounded by whoever calls.
    fn secure(&self, stream: TcpStream) -> BoxFuture<'_, io::Result<BoxWire>>;
}

/// No TLS.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Plain;

impl Secure for Plain {
    fn secure(&self, stream: TcpStream) -> BoxFuture<'_, io::Result<BoxWire>> {
        Box::pin(async move { Ok(Box::new(stream) as BoxWire) })
    }
}

/// Accepts connections and serves them. Dropped, all of them end.
pub(crate) struct Listener {
    pub(crate) socket: TcpListener,
    pub(crate) secure: Arc<dyn Secure>,
    pub(crate) server: Server,
    /// Connections that are open at once, whoever they are from. One more is closed at once.
    pub(crate) connections_max: usize,
    /// How long TLS may take.
    pub(crate) secure_within: Duration,
}

impl Listener {
    /// Accepts for ever, so drop it to stop.
    pub(crate) async fn run(self) {
        let room = Arc::new(Semaphore::new(self.connections_max));
        let mut connections = JoinSet::new();
        let mut refusals = Refusals::default();
        loop {
            let (stream, from) = accept(&self.socket).await;
            while connections.try_join_next().is_some() {}
            let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
                refusals.add(self.connections_max);
                continue;
            };
            let (secure, server, within) =
                (Arc::clone(&self.secure), self.server.clone(), self.secure_within);
            connections.spawn(async move {
                let _permit = permit;
                serve(stream, from, &*secure, &server, within).await;
            });
        }
    }
}

async fn serve(stream: TcpStream, from: SocketAddr, secure: &dyn Secure, server: &Server, within: Duration) {
    // Answers are small, and a leader waits for them. Without it they are late, and nothing is lost.
    let _ = stream.set_nodelay(true);
    match timeout(within, secure.secure(stream)).await {
        Ok(Ok(wire)) => server.serve(wire, &from.to_string()).await,
        Ok(Err(error)) => tracing::warn!(%from, %error, "a connection was refused: TLS failed"),
        Err(_) => tracing::debug!(%from, "a connection ended before TLS"),
    }
}

/// Accepts one connection, however often it takes, without ever spinning.
async fn accept(socket: &TcpListener) -> (TcpStream, SocketAddr) {
    let mut pause = PAUSE_MIN;
    loop {
        match socket.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_of_the_peer(&error) => {}
            Err(error) => {
                tracing::error!(%error, ?pause, "accepting a member's connection failed, will try again");
                sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}

fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

/// Connections that found no room. A flood of them must not become a flood of lines.
#[derive(Debug, Default)]
struct Refusals {
    said_at: Option<Instant>,
    unsaid: u64,
}

impl Refusals {
    fn add(&mut self, connections_max: usize) {
        self.unsaid += 1;
        if self.said_at.is_none_or(|at| at.elapsed() >= REFUSALS_SAID_EVERY) {
            tracing::warn!(
                connections_max,
                refused = self.unsaid,
                "too many connections of members, closing new ones"
            );
            self.said_at = Some(Instant::now());
            self.unsaid = 0;
        }
    }
}
