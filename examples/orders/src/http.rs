//! The HTTP side: one line per message, health, and who may come in.
mod in_cluster;

use axum::{
    Json, Router,
    extract::{FromRef, FromRequestParts, Path, Query, State, rejection::QueryRejection},
    http::{StatusCode, request::Parts},
    routing::{get, post},
};
use convoke::{
    Executed, Invalid, Mediator, Violation,
    http::{
        Bearer, Problem, ProblemDetails, RateLimit, command, command_with, fallbacks, forward_routes,
        health_routes, query, query_with,
    },
};
use serde::Deserialize;

use crate::{
    EventFeed, GetOrder, ListOrders, OrderError, OrderId, PlaceOrder, Received, ShipOrder, settings::Role,
};

pub use in_cluster::InCluster;

/// What the routes share.
#[derive(Debug, Clone)]
struct Shared {
    mediator: Mediator,
    feed: EventFeed,
}

/// Who may use the routes for orders. Health is open to all.
#[derive(Debug, Default)]
pub struct Guards {
    /// Callers need one of these tokens.
    pub bearer: Option<Bearer>,
    /// Each caller may make so many requests.
    pub rate_limit: Option<RateLimit>,
}

/// All routes of a node in this role.
pub fn router(
    mediator: Mediator,
    feed: EventFeed,
    role: Role,
    guards: Guards,
    cluster: Option<InCluster>,
) -> Router {
    let mut routes = match role {
        Role::Api => order_routes(),
        Role::Worker => Router::new(),
    };
    let forwarded = cluster.as_ref().map(|cluster| forward_routes(cluster.membership.key()));
    if let (Role::Api, Some(cluster)) = (role, cluster) {
        routes = routes.merge(in_cluster::routes(cluster));
    }
    if let (Role::Api, Some(bearer)) = (role, guards.bearer) {
        routes = routes.route_layer(bearer);
    }
    // Outermost, so that guessing tokens is limited as well.
    if let (Role::Api, Some(rate_limit)) = (role, guards.rate_limit) {
        routes = routes.route_layer(rate_limit);
    }
    let mut routes = routes.merge(health_routes(env!("CARGO_PKG_VERSION")));
    if let Some(forwarded) = forwarded {
        routes = routes.merge(forwarded); // signed by nodes, so that callers' tokens do not matter
    }
    fallbacks(routes).with_state(Shared { mediator, feed })
}

fn order_routes() -> Router<Shared> {
    let place = command::<PlaceOrder>().location(|placed| format!("/orders/{}", placed.order_id));
    let show = query_with(|InPath(order_id): InPath| GetOrder { order_id });
    let ship = command_with(|InPath(order_id): InPath| ShipOrder { order_id });
    Router::new()
        .route("/orders", post(place).get(query::<ListOrders>()))
        .route("/orders/{id}", get(show))
        .route("/orders/{id}/ship", post(ship))
        .route("/events", get(events))
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct EventsQuery {
    limit: usize,
}

impl Default for EventsQuery {
    fn default() -> Self {
        Self { limit: EVENTS_LIMIT }
    }
}

/// Events that are shown unless told otherwise.
const EVENTS_LIMIT: usize = 1000;

async fn events(
    State(feed): State<EventFeed>,
    query: Result<Query<EventsQuery>, QueryRejection>,
) -> Result<Json<Vec<Received>>, ProblemDetails> {
    let range = 1..=EventFeed::EVENTS_MAX;
    let Query(EventsQuery { limit }) = query.map_err(|rejection| {
        let field = Violation { field: "limit".into(), message: "must be a number".into() };
        ProblemDetails::new(StatusCode::BAD_REQUEST, rejection.body_text())
            .executed(Executed::No)
            .field(field)
    })?;
    if !range.contains(&limit) {
        let wrong = format!("must be from {} to {}", range.start(), range.end());
        return Err(ProblemDetails::from(&Invalid::field("limit", wrong)));
    }
    Ok(Json(feed.latest(limit)))
}

/// The order that the path names. A word that is no id names none.
struct InPath(OrderId);

impl<S: Send + Sync> FromRequestParts<S> for InPath {
    type Rejection = ProblemDetails;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ProblemDetails> {
        let id =
            Path::<String>::from_request_parts(parts, state).await.ok().and_then(|Path(id)| id.parse().ok());
        id.map(Self).ok_or_else(|| {
            let problem =
                ProblemDetails::new(StatusCode::NOT_FOUND, "there is no such order: an id is a UUID");
            let field = Violation { field: "orderId".into(), message: "must be a UUID".into() };
            problem.code(NOT_FOUND).executed(Executed::No).field(field)
        })
    }
}

const NOT_FOUND: &str = "orders.not-found";

impl Problem for OrderError {
    fn status(&self) -> StatusCode {
        match self {
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::AlreadyShipped(_) => StatusCode::CONFLICT,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn code(&self) -> Option<std::borrow::Cow<'_, str>> {
        Some(match self {
            Self::NotFound(_) => NOT_FOUND.into(),
            Self::AlreadyShipped(_) => "orders.already-shipped".into(),
            Self::Unavailable => "orders.unavailable".into(),
        })
    }

    fn fields(&self) -> Vec<Violation> {
        let violation = |message: &str| vec![Violation { field: "orderId".into(), message: message.into() }];
        match self {
            Self::NotFound(_) => violation("there is no such order"),
            Self::AlreadyShipped(_) => violation("was shipped before"),
            Self::Unavailable => Vec::new(),
        }
    }
}

impl FromRef<Shared> for Mediator {
    fn from_ref(shared: &Shared) -> Self {
        shared.mediator.clone()
    }
}

impl FromRef<Shared> for EventFeed {
    fn from_ref(shared: &Shared) -> Self {
        shared.feed.clone()
    }
}
