use axum::body::Body;
use axum::extract::Request;
use convoke::TransportHealth;
use opentelemetry::trace::TraceContextExt;

use super::app::start;
use super::client::send;

/// The trace that is current where a handler runs.
pub(crate) fn current() -> Option<String> {
    let cx = opentelemetry::Context::current();
    let span = cx.span().span_context().clone();
    span.is_valid().then(|| format!("{}-{}", span.trace_id(), span.span_id()))
}

async fn seen(traceparent: &str) -> serde_json::Value {
    let (_node, router) = start().await;
    let get = Request::get("/seen").header("traceparent", traceparent).body(Body::empty());
    send(&router, get.expect("a request")).await.json()
}

#[tokio::test]
async fn the_callers_trace_reaches_the_handler() {
    let found = seen("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").await;
    assert_eq!(found, "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331");
}

#[tokio::test]
async fn what_is_not_a_trace_is_ignored() {
    assert_eq!(seen("00-nonsense-01").await, serde_json::Value::Null);
}

#[tokio::test]
async fn the_callers_trace_travels_to_other_nodes() {
    let (node, traces) =
        super::scripted::start(|| convoke::Failed::NotLeader { leader: None }, TransportHealth::Up).await;
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let post = Request::post("/stall").header("traceparent", parent).body(Body::empty());
    send(&super::app::routes(node.mediator()), post.expect("a request")).await.problem(503);
    assert_eq!(*traces.lock().expect("no test panics with the lock"), [Some(parent.to_owned())]);
}
