use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, State};
use axum::routing::{get, post};
use convoke_axum::{Drained, ServeConfig, ServeError, Upgraded, serve};
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Far beyond every timeout configured in these tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// What the routes under test share with the test.
#[derive(Clone, Default)]
pub(crate) struct Shared {
    /// Told when `/wait` has begun.
    pub(crate) entered: Arc<Notify>,
    /// Lets `/wait` answer.
    pub(crate) leave: Arc<Notify>,
    /// How often `/smuggled` was called.
    pub(crate) smuggled: Arc<AtomicUsize>,
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) shared: Shared,
    shutdown: oneshot::Sender<()>,
    running: JoinHandle<Result<Drained, ServeError>>,
}

pub(crate) fn router(shared: Shared) -> Router {
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/peer", get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() }))
        .route("/echo", post(|body: Bytes| async move { body }))
        .route("/ignore", post(|| async { "did not look" }))
        .route("/swallow", post(|body: Result<Bytes, _>| swallow(body)))
        .route("/panic", get(panic_now))
        .route("/upgrade", convoke_axum::upgrade("echo", echo))
        .route("/big", get(|| async { vec![b'x'; 64 * 1024 * 1024] }))
        .route(
            "/smuggled",
            get(|State(shared): State<Shared>| async move {
                shared.smuggled.fetch_add(1, Ordering::SeqCst);
                "smuggled"
            }),
        )
        .route(
            "/wait",
            get(|State(shared): State<Shared>| async move {
                shared.entered.notify_one();
                shared.leave.notified().await;
                "waited"
            }),
        )
        .with_state(shared)
}

/// A handler that makes a success of a broken body.
async fn swallow(body: Result<Bytes, axum::extract::rejection::BytesRejection>) -> &'static str {
    if body.is_ok() { "whole" } else { "broken, but who cares" }
}

async fn panic_now() -> &'static str {
    panic!("a handler of the test panics")
}

/// Gives the connection to a task that sends back what comes.
async fn echo(stream: Upgraded) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let _ = tokio::io::copy(&mut reader, &mut writer).await;
}

impl Server {
    pub(crate) async fn start(config: ServeConfig) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let shared = Shared::default();
        let (shutdown, shut_down) = oneshot::channel();
        let serving = serve(listener, router(shared.clone()), config).graceful(async {
            let _ = shut_down.await;
        });
        let address = serving.local_addr().expect("a bound listener has an address");
        let running = tokio::spawn(serving.into_future());
        Server { address, shared, shutdown, running }
    }

    /// Begins the shutdown; the handle tells when it is over.
    pub(crate) fn begin_shutdown(self) -> JoinHandle<Result<Drained, ServeError>> {
        self.shutdown.send(()).expect("the server runs until now");
        self.running
    }

    /// Ends the server as a caller does that drops its future.
    pub(crate) async fn drop_future(self) {
        self.running.abort();
        assert!(self.running.await.is_err_and(|error| error.is_cancelled()));
    }

    pub(crate) async fn shut_down(self) -> Drained {
        drained(self.begin_shutdown()).await
    }
}

pub(crate) async fn drained(running: JoinHandle<Result<Drained, ServeError>>) -> Drained {
    timeout(PATIENCE, running)
        .await
        .expect("the server ends in time")
        .expect("it does not panic")
        .expect("its configuration is sound")
}
