//! A small app with one message for each way an answer can look.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::Path;
use axum::routing::{delete, get, post, put};
use convoke::{
    App, Command, Context, Failure, Mediator, Node, Outcome, Query, Rejection, Violation, handlers,
};
use convoke_axum::{Content, Problem, command, command_with, fallbacks, health_routes, query, query_with};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize, Command, garde::Validate)]
#[command(name = "orders.place.v1", reply = Placed, error = PlaceOrderError, idempotent, validate)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PlaceOrder {
    #[garde(length(min = 1))]
    pub(crate) customer_id: String,
    #[garde(dive)]
    pub(crate) items: Vec<Item>,
}

#[derive(Debug, Clone, Serialize, Deserialize, garde::Validate)]
pub(crate) struct Item {
    #[garde(range(min = 1))]
    pub(crate) quantity: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Placed {
    pub(crate) order: u64,
    pub(crate) run: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize, thiserror::Error)]
pub(crate) enum PlaceOrderError {
    #[error("an order without items is none")]
    NoItems { run: u64 },
    #[error("we do not know {0}")]
    Unknown(String),
}

impl Problem for PlaceOrderError {
    fn status(&self) -> StatusCode {
        match self {
            Self::NoItems { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Unknown(_) => StatusCode::NOT_FOUND,
        }
    }

    fn code(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::NoItems { .. } => "order.empty".into(),
            Self::Unknown(_) => "customer.unknown".into(),
        })
    }

    fn fields(&self) -> Vec<Violation> {
        match self {
            Self::NoItems { run } => {
                vec![Violation { field: "items".to_owned(), message: format!("is empty, said run {run}") }]
            }
            Self::Unknown(_) => Vec::new(),
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, Command)]
#[command(name = "orders.rename.v1", reply = String, error = Rejection)]
pub(crate) struct Rename {
    id: u64,
    name: String,
    by: String,
}

#[derive(Debug, Clone, Serialize, Deserialize, Command)]
#[command(name = "orders.delete.v1", error = Rejection)]
pub(crate) struct Delete {
    id: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize, Command)]
#[command(name = "orders.stall.v1")]
pub(crate) struct Stall;

#[derive(Debug, Clone, Serialize, Deserialize, Query)]
#[query(name = "orders.list.v1", reply = Vec<u64>)]
pub(crate) struct List {
    pub(crate) limit: u64,
    #[serde(default)]
    pub(crate) after: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize, Query)]
#[query(name = "orders.trace.v1", reply = Option<String>)]
pub(crate) struct Seen;

#[derive(Debug, Clone, Serialize, Deserialize, Query)]
#[query(name = "orders.nobody.v1")]
pub(crate) struct Nobody;

/// Counts how often an order was placed.
#[derive(Debug, Default)]
struct Orders {
    runs: AtomicU64,
}

#[handlers]
impl Orders {
    #[handler]
    async fn place(&self, order: PlaceOrder) -> Outcome<PlaceOrder> {
        let run = self.runs.fetch_add(1, Ordering::Relaxed) + 1;
        match order.customer_id.as_str() {
            "stranger" => Err(PlaceOrderError::Unknown(order.customer_id))?,
            "crash" => Err(Failure::fault("table `secret_orders` is gone")),
            _ if order.items.is_empty() => Err(PlaceOrderError::NoItems { run })?,
            _ => Ok(Placed { order: 17, run }),
        }
    }

    #[handler]
    async fn rename(&self, command: Rename) -> Outcome<Rename> {
        Ok(format!("{} {} {}", command.id, command.name, command.by))
    }

    #[handler]
    async fn delete(&self, command: Delete) -> Outcome<Delete> {
        if command.id == 404 { Err(Rejection::new("order.gone", "it is gone"))? } else { Ok(()) }
    }

    #[handler]
    async fn stall(&self, _: Stall) -> Outcome<Stall> {
        std::future::pending().await
    }

    #[handler]
    async fn list(&self, query: List) -> Outcome<List> {
        Ok((query.after + 1..=query.after + query.limit).collect())
    }

    #[handler]
    async fn seen(&self, _: Seen, cx: &Context) -> Outcome<Seen> {
        let _ = cx;
        Ok(super::trace::current())
    }
}

/// What nobody put into a request.
#[derive(Debug, Clone)]
struct Private;

/// The state of a bigger program, of which the mediator is a part.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    mediator: Mediator,
    _rest: Arc<str>,
}

impl axum::extract::FromRef<Shared> for Mediator {
    fn from_ref(shared: &Shared) -> Self {
        shared.mediator.clone()
    }
}

pub(crate) fn routes(mediator: Mediator) -> Router {
    let by = HeaderName::from_static("x-served-by");
    let router: Router<Shared> = Router::new()
        .route(
            "/orders",
            post(command::<PlaceOrder>().location(|placed| format!("/orders/{}", placed.order))),
        )
        .route("/orders", get(query::<List>().header(by, HeaderValue::from_static("convoke"))))
        .route(
            "/orders/{id}/name",
            put(command_with(
                |Path(id): Path<u64>, headers: http::HeaderMap, Content(name): Content<String>| {
                    let by =
                        headers.get("x-by").and_then(|by| by.to_str().ok()).unwrap_or("nobody").to_owned();
                    Rename { id, name, by }
                },
            )),
        )
        .route("/orders/{id}", delete(command_with(|Path(id): Path<u64>| Delete { id })))
        .route("/stall", post(command_with(|| Stall).timeout(std::time::Duration::from_millis(50))))
        .route("/later", post(command::<Delete>().status(StatusCode::ACCEPTED)))
        .route("/broken", post(command_with(|_: axum::Extension<Private>| Stall)))
        .route("/seen", get(query_with(|| Seen)))
        .route("/nobody", get(query_with(|| Nobody)))
        .merge(health_routes("1.2.3"));
    fallbacks(router).with_state(Shared { mediator, _rest: "".into() })
}

pub(crate) async fn start() -> (Node, Router) {
    let app = App::new("orders").node("node1").service(Orders::default());
    let node = app.start().await.expect("the wiring is right");
    let router = routes(node.mediator());
    (node, router)
}
