//! Counts effects outside the nodes.
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{Router, extract::Query, http::StatusCode, routing::post};
use tokio::time::sleep;

use crate::history::Effects;

/// How long a report of an order takes: most runs that are hit by a fault are hit here, between what they stored and
/// what they still have to publish.
const ORDER_TAKES: Duration = Duration::from_millis(150);

/// Where the nodes report what they did.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sink(Arc<Mutex<Effects>>);

impl Sink {
    /// Serves on a free port; the address goes to `--effects-url`.
    pub(crate) async fn start() -> (Self, String) {
        let sink = Self::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let counting = sink.clone();
        let count = async move |Query(report): Query<HashMap<String, String>>| {
            let counted = counting.count(&report);
            if report.get("kind").is_some_and(|kind| kind == "order") {
                sleep(ORDER_TAKES).await;
            }
            counted
        };
        let router = Router::new().route("/effect", post(count));
        tokio::spawn(async move { axum::serve(listener, router).await });
        (sink, url)
    }

    fn count(&self, report: &HashMap<String, String>) -> StatusCode {
        let text = |name: &str| report.get(name).cloned().unwrap_or_default();
        let mut effects = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match text("kind").as_str() {
            "event" => *effects.events.entry((text("node"), text("id"))).or_default() += 1,
            "commit" => drop(effects.commits.entry(text("id")).or_default().insert(text("fence"))),
            "order" => *effects.orders.entry((text("id"), text("key"))).or_default() += 1,
            _ => return StatusCode::BAD_REQUEST,
        }
        StatusCode::NO_CONTENT
    }

    pub(crate) fn effects(&self) -> Effects {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
