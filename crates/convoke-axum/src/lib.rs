//! Convoke over HTTP: messages as axum routes, errors as problem+json, health, guards, and a server with limits.
//!
//! ```
//! use axum::{Router, extract::Path, routing::{get, post}};
//! use convoke::{Command, Mediator, Query, Rejection};
//! use convoke_axum::{command, command_with, fallbacks, health_routes, query_with};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Debug, Clone, Serialize, Deserialize, Command)]
//! #[command(name = "orders.place.v1", reply = u64, error = Rejection, idempotent)]
//! struct PlaceOrder { items: Vec<String> }
//!
//! #[derive(Debug, Clone, Serialize, Deserialize, Command)]
//! #[command(name = "orders.ship.v1", error = Rejection)]
//! struct ShipOrder { order_id: u64 }
//!
//! #[derive(Debug, Clone, Serialize, Deserialize, Query)]
//! #[query(name = "orders.get.v1", reply = Vec<String>, error = Rejection)]
//! struct GetOrder { order_id: u64 }
//!
//! fn routes(mediator: Mediator) -> Router {
//!     let router = Router::new()
//!         .route("/orders", post(command::<PlaceOrder>().location(|id| format!("/orders/{id}"))))
//!         .route("/orders/{id}", get(query_with(|Path(id): Path<u64>| GetOrder { order_id: id })))
//!         .route("/orders/{id}/ship", post(command_with(|Path(id): Path<u64>| ShipOrder { order_id: id })))
//!         .merge(health_routes(env!("CARGO_PKG_VERSION")));
//!     fallbacks(router).with_state(mediator)
//! }
//! ```

mod fallback;
mod forward;
mod guard;
mod health;
mod problem;
mod redact;
mod route;
mod serve;
mod upgrade;

pub use fallback::fallbacks;
pub use forward::{ForwardKey, HttpForwarder, forward_routes};
pub use guard::{Bearer, GuardError, Guarded, RateLimit, bearer, rate_limit};
pub use health::health_routes;
pub use problem::{Problem, ProblemDetails};
pub use route::{
    Content, Extractors, FromBody, FromParts, FromQuery, Make, Route, Source, command, command_with, query,
    query_with,
};
pub use serve::{Drained, ServeConfig, ServeError, ServeErrorKind, Serving, TlsConfig, serve};
pub use upgrade::{Upgraded, upgrade};
