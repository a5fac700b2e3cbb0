//! Two nodes that share nothing but a secret and their addresses.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, routing::post};
use convoke::{
    App, Command, Context, Fence, InProcess, Mediator, Node, Outcome, Rejection, handlers, stores_in_process,
};
use convoke_axum::{
    ForwardKey, HttpForwarder, ServeConfig, TlsConfig, command, forward_routes, health_routes, serve,
};
use convoke_testing::{Elected, Elections};
use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, task::JoinHandle};

pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef";

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Command)]
#[command(name = "led.number.v1", reply = Numbered, error = Rejection, idempotent)]
pub(crate) struct Number {
    pub(crate) of: String,
    #[serde(default)]
    pub(crate) pad: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Numbered {
    pub(crate) node: String,
    pub(crate) fence: Fence,
    pub(crate) id: String,
    pub(crate) tenant: Option<String>,
    pub(crate) trace: Option<String>,
    pub(crate) remaining_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Command)]
#[command(name = "led.local.v1", reply = (), error = Rejection)]
pub(crate) struct Reject {}

#[derive(Clone, Default)]
pub(crate) struct Led {
    pub(crate) runs: Arc<AtomicUsize>,
}

#[handlers]
impl Led {
    #[handler(leader)]
    async fn number(&self, command: Number, cx: &Context) -> Outcome<Number> {
        self.runs.fetch_add(1, Ordering::SeqCst);
        match &*command.of {
            "nobody" => Err(Rejection::new("nobody", "there is no order"))?,
            "slow" => std::future::pending::<()>().await,
            _ => {}
        }
        Ok(Numbered {
            node: cx.node().to_owned(),
            fence: cx.leader_fence().unwrap(),
            id: cx.id().to_string(),
            tenant: cx.header("tenant").map(str::to_owned),
            trace: cx.traceparent().map(str::to_owned),
            remaining_ms: u64::try_from(cx.remaining().as_millis()).unwrap(),
        })
    }

    #[handler(leader = "reject")]
    async fn reject(&self, _: Reject) -> Outcome<Reject> {
        Ok(())
    }
}

/// A node with an HTTP server.
pub(crate) struct Served {
    pub(crate) node: Node,
    pub(crate) address: SocketAddr,
    pub(crate) member: Elected,
    pub(crate) led: Led,
    server: JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.server.abort();
    }
}

pub(crate) fn key(secret: &str) -> ForwardKey {
    ForwardKey::new(secret).unwrap()
}

/// How a node differs from the others.
pub(crate) struct Differs<'a> {
    pub(crate) secret: &'a str,
    pub(crate) tls: Option<TlsConfig>,
    pub(crate) forwarder: Option<HttpForwarder>,
}

impl Default for Differs<'_> {
    fn default() -> Self {
        Self { secret: SECRET, tls: None, forwarder: None }
    }
}

impl Served {
    pub(crate) async fn start(elections: &Elections, name: &str) -> Self {
        Self::start_with(elections, name, Differs::default()).await
    }

    pub(crate) async fn start_with(elections: &Elections, name: &str, differs: Differs<'_>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let scheme = if differs.tls.is_some() { "https" } else { "http" };
        let member = elections.member(name).http(format!("{scheme}://localhost:{}", address.port()));
        let led = Led::default();
        let forwarder = differs.forwarder.unwrap_or_else(|| HttpForwarder::new(key(differs.secret)));
        let app =
            App::new("led").node(name).cluster(member.clone()).forwarder(forwarder).service(led.clone());
        let app = app.singleton("report", async |_| std::future::pending::<()>().await);
        let node = app.on(InProcess::new(), stores_in_process()).start().await.unwrap();
        let router: Router<Mediator> = Router::new()
            .route("/numbers", post(command::<Number>()))
            .route("/reject", post(command::<Reject>()))
            .merge(health_routes("1"))
            .merge(forward_routes(key(differs.secret)));
        let router = router.with_state(node.mediator());
        let mut config = ServeConfig::default().body_bytes_max(2 * 1024 * 1024);
        if let Some(tls) = differs.tls {
            config = config.tls(tls);
        }
        let server = tokio::spawn(async move {
            serve(listener, router, config).await.unwrap();
        });
        Self { node, address, member, led, server }
    }

    pub(crate) fn runs(&self) -> usize {
        self.led.runs.load(Ordering::SeqCst)
    }
}

/// Two nodes, of which the second leads.
pub(crate) async fn pair() -> (Elections, Served, Served) {
    let elections = Elections::new();
    let pair = (Served::start(&elections, "n1").await, Served::start(&elections, "n2").await);
    elections.elect("n2");
    (elections, pair.0, pair.1)
}

pub(crate) fn number(of: &str) -> Number {
    Number { of: of.to_owned(), pad: String::new() }
}

/// Longer than anything here takes, and not for ever.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
