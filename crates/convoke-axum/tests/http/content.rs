use axum::body::Body;
use axum::extract::Request;
use convoke::{Codec, Limits};
use http::StatusCode;
use serde_json::json;

use super::app::{Placed, start};
use super::client::{Answer, post, send};

fn message_pack(accept: &str) -> Request {
    let order = json!({"customerId": "ann", "items": [{"quantity": 2}]});
    let body = Codec::MessagePack.encode(&order).expect("it can be encoded");
    let post =
        Request::post("/orders").header("content-type", "application/msgpack").header("accept", accept);
    post.body(Body::from(body)).expect("a request")
}

#[track_caller]
fn detail(answer: &Answer, status: u16, text: &str) {
    let problem = answer.problem(status);
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(text)), "{problem}");
    assert_eq!(problem["executed"], "no");
}

#[tokio::test]
async fn message_pack_is_read_and_written_when_it_is_asked_for() {
    let (_node, router) = start().await;
    let answer = send(&router, message_pack("application/msgpack")).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    assert_eq!(answer.header("content-type"), Some("application/msgpack"));
    let placed: Placed = Codec::MessagePack.decode(&answer.body, &Limits::default()).expect("a reply");
    assert_eq!(placed, Placed { order: 17, run: 1 });

    let answer = send(&router, message_pack("*/*")).await;
    assert_eq!(answer.json(), json!({"order": 17, "run": 2}));
}

#[tokio::test]
async fn other_content_types_and_none_are_refused_with_what_is_taken() {
    let (_node, router) = start().await;
    for request in [Request::post("/orders"), Request::post("/orders").header("content-type", "text/plain")] {
        let answer = send(&router, request.body(Body::from("{}")).expect("a request")).await;
        detail(&answer, 415, "application/json");
        assert_eq!(answer.header("accept"), Some("application/json, application/msgpack"));
    }
}

#[tokio::test]
async fn broken_json_is_refused_with_its_place() {
    let (_node, router) = start().await;
    let answer = post(&router, "/orders", "{\"customerId\": \"ann\",\n  oops}").await;
    detail(&answer, 400, "line 2 column");
    detail(&post(&router, "/orders", "{\"customerId\": \"ann\"").await, 400, "truncated");
    detail(&post(&router, "/orders", "").await, 400, "the body is empty");
}

#[tokio::test]
async fn json_of_the_wrong_shape_is_refused_with_its_field() {
    let (_node, router) = start().await;
    let answer = post(&router, "/orders", r#"{"customerId": "ann"}"#).await;
    answer.problem_of_field(400, "items");
    let answer = post(&router, "/orders", r#"{"customerId": "ann", "items": [{"quantity": "two"}]}"#).await;
    answer.problem_of_field(400, "items[0].quantity");
    detail(&answer, 400, "line 1 column");
    let answer = send(&router, {
        let put = Request::put("/orders/1/name").header("content-type", "application/json");
        put.body(Body::from("7")).expect("a request")
    });
    detail(&answer.await, 400, "expected a string");
}

#[tokio::test]
async fn a_body_beyond_the_limits_is_refused_unread() {
    let (_node, router) = start().await;
    let long = format!(r#"{{"customerId": "{}", "items": []}}"#, "a".repeat(10 * 1024 * 1024));
    detail(&post(&router, "/orders", long).await, 413, "at most 1048576 bytes");
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    detail(&post(&router, "/orders", deep).await, 400, "64 levels");
}
