use std::sync::Arc;

use axum::extract::{FromRef, State};
use axum::http::header::{CACHE_CONTROL, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use convoke_core::{ClusterHealth, Dependency, Leadership, Mediator, OutboxLag, SingletonHealth};
use http::StatusCode;
use serde::Serialize;

use crate::ProblemDetails;
use crate::redact::redacted;

/// Seconds after which readiness may be asked again.
const RETRY_AFTER_SECONDS: u64 = 1;

/// What `/health` tells people.
#[derive(Serialize)]
struct Report<'a> {
    status: &'static str,
    node: &'a str,
    service: &'a str,
    version: &'a str,
    stopping: bool,
    dependencies: Vec<Line<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outbox: Option<Outbox>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<Cluster<'a>>,
}

/// How far the service's outbox is behind.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Outbox {
    waiting: u64,
    oldest_seconds: f64,
    parked: u64,
}

impl Outbox {
    fn of(lag: OutboxLag) -> Self {
        let oldest_seconds = lag.oldest.map_or(0.0, |age| age.as_secs_f64());
        Self { waiting: lag.waiting, oldest_seconds, parked: lag.parked }
    }
}

/// This node's place in its cluster.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Cluster<'a> {
    role: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    term: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    leader: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    leader_address: Option<&'a str>,
    singletons: Vec<Singleton<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Singleton<'a> {
    name: &'a str,
    state: &'static str,
    seconds: f64,
    failures: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
}

impl<'a> Cluster<'a> {
    fn of(cluster: &'a ClusterHealth, node: &'a str) -> Self {
        let singletons = cluster.singletons.iter().map(Singleton::of).collect();
        let none = Self { role: "no-leader", term: None, leader: None, leader_address: None, singletons };
        match &cluster.leadership {
            Leadership::Leader { term } => {
                Self { role: "leader", term: Some(*term), leader: Some(node), ..none }
            }
            Leadership::Follower { leader } => Self {
                role: "follower",
                term: Some(leader.term),
                leader: Some(&leader.node),
                leader_address: leader.http.as_deref(),
                ..none
            },
            Leadership::NoLeader => none,
        }
    }
}

impl<'a> Singleton<'a> {
    fn of(health: &'a SingletonHealth) -> Self {
        Self {
            name: &health.name,
            state: health.state.word(),
            seconds: health.since.as_secs_f64(),
            failures: health.failures,
            last_error: health.last_error.as_deref().map(|error| redacted(error).into_owned()),
        }
    }
}

#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    status: &'static str,
    needed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// `/health` for people, `/livez` and `/readyz` for machines. `version` is the app's own.
///
/// `/health` lists each dependency, how far the outbox is behind, and who leads the cluster, and is 503 when one that is needed is away. `/livez` is 200 while the process
/// answers at all. `/readyz` is 200 while the node should get work, else 503 with the reason.
///
/// Merged after the guards are layered on, they need no token and count against no limit:
///
/// ```
/// # use axum::{Router, routing::get};
/// # use convoke::Mediator;
/// # use convoke_axum::{bearer, health_routes};
/// # let orders: Router<Mediator> = Router::new().route("/orders", get(|| async {}));
/// let router = orders.layer(bearer(["s3cret"])?).merge(health_routes(env!("CARGO_PKG_VERSION")));
/// # Ok::<(), convoke_axum::GuardError>(())
/// ```
pub fn health_routes<S>(version: impl Into<String>) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    Mediator: FromRef<S>,
{
    let version: Arc<str> = version.into().into();
    Router::new()
        .route("/health", get(move |State(mediator): State<Mediator>| health(mediator, version)))
        .route("/livez", get(async || not_stored("alive")))
        .route("/readyz", get(ready))
}

async fn health(mediator: Mediator, version: Arc<str>) -> Response {
    let health = mediator.health().await;
    let ready = health.is_ready();
    let report = Report {
        status: if ready { "Healthy" } else { "Unhealthy" },
        node: &health.node,
        service: &health.service,
        version: &version,
        stopping: health.stopping,
        dependencies: health.dependencies.iter().map(Line::of).collect(),
        outbox: health.outbox.map(Outbox::of),
        cluster: health.cluster.as_ref().map(|cluster| Cluster::of(cluster, &health.node)),
    };
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    not_stored((status, Json(report)))
}

impl<'a> Line<'a> {
    fn of(dependency: &'a Dependency) -> Self {
        let detail = dependency.problem.as_deref().map(|problem| redacted(problem).into_owned());
        let status = if detail.is_none() { "Healthy" } else { "Unhealthy" };
        Self { name: &dependency.name, status, needed: dependency.needed, detail }
    }
}

async fn ready(State(mediator): State<Mediator>) -> Response {
    let health = mediator.health().await;
    if health.is_ready() {
        return not_stored("ready");
    }
    let reason = health.to_string();
    let problem = ProblemDetails::new(StatusCode::SERVICE_UNAVAILABLE, redacted(&reason));
    not_stored(problem.retry_after(RETRY_AFTER_SECONDS))
}

/// An answer about this moment, that no cache may keep.
fn not_stored(answer: impl IntoResponse) -> Response {
    ([(CACHE_CONTROL, HeaderValue::from_static("no-store"))], answer).into_response()
}
