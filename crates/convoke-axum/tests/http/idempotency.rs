use axum::body::Body;
use axum::extract::Request;
use http::StatusCode;

use super::app::start;
use super::client::{Answer, json, send};

async fn place(router: &axum::Router, key: &str, body: &'static str) -> Answer {
    send(router, json(Request::post("/orders").header("idempotency-key", key), body)).await
}

const ORDER: &str = r#"{"customerId": "ann", "items": [{"quantity": 1}]}"#;
const EMPTY: &str = r#"{"customerId": "ann", "items": []}"#;

#[tokio::test]
async fn a_repeat_is_answered_like_the_first_and_says_so() {
    let (_node, router) = start().await;
    let first = place(&router, "key-1", ORDER).await;
    let repeat = place(&router, "key-1", ORDER).await;
    assert_eq!(first.header("idempotent-replayed"), None);
    assert_eq!(repeat.header("idempotent-replayed"), Some("true"));
    assert_eq!((repeat.status, &repeat.body), (StatusCode::CREATED, &first.body));
    assert_eq!(repeat.header("location"), first.header("location"));
    let other = place(&router, "key-2", ORDER).await;
    assert_eq!(other.header("idempotent-replayed"), None);
    assert_eq!(other.json()["run"], 2);
}

#[tokio::test]
async fn a_refusal_is_replayed_like_a_reply() {
    let (_node, router) = start().await;
    let first = place(&router, "key-1", EMPTY).await;
    let repeat = place(&router, "key-1", EMPTY).await;
    first.problem_of_field(422, "items");
    assert_eq!(first.header("idempotent-replayed"), None);
    assert_eq!(repeat.header("idempotent-replayed"), Some("true"));
    assert_eq!((repeat.status, &repeat.body), (first.status, &first.body));
}

#[tokio::test]
async fn another_body_under_the_same_key_is_refused() {
    let (_node, router) = start().await;
    place(&router, "key-1", ORDER).await;
    let problem = place(&router, "key-1", EMPTY).await.problem(422);
    assert_eq!((&problem["code"], &problem["executed"]), (&"key-reused".into(), &"no".into()));
}

#[tokio::test]
async fn a_key_that_cannot_travel_is_refused_and_names_the_header() {
    let (_node, router) = start().await;
    for key in ["", "two words", &"k".repeat(256)] {
        let problem = place(&router, key, ORDER).await.problem(400);
        assert!(problem["detail"].as_str().is_some_and(|text| text.contains("Idempotency-Key")), "{problem}");
    }
    let twice = Request::post("/orders").header("idempotency-key", "a").header("idempotency-key", "b");
    send(&router, json(twice, ORDER)).await.problem(400);
    assert_eq!(place(&router, "key-1", ORDER).await.json()["run"], 1, "none of them ran");
}

#[tokio::test]
async fn a_key_promises_nothing_on_a_command_that_is_not_idempotent_and_is_refused() {
    let (_node, router) = start().await;
    let delete = Request::delete("/orders/1").header("idempotency-key", "key-1").body(Body::empty());
    let problem = send(&router, delete.expect("a request")).await.problem(400);
    assert!(problem["detail"].as_str().is_some_and(|text| text.contains("not idempotent")), "{problem}");
}

#[tokio::test]
async fn a_key_says_nothing_about_a_query() {
    let (_node, router) = start().await;
    let list = Request::get("/orders?limit=1").header("idempotency-key", "key-1").body(Body::empty());
    assert_eq!(send(&router, list.expect("a request")).await.status, StatusCode::OK);
}
