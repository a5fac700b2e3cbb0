use std::collections::HashSet;

use convoke_testing::eventually;
use futures_util::future::join_all;
use serde_json::json;

use crate::client::{Nodes, order};

#[tokio::test]
async fn a_repeat_gets_the_same_answer_and_says_so() {
    let nodes = Nodes::start().await;
    let first = nodes.post_with_key(0, "k-1", &order()).await;
    let again = nodes.post_with_key(1, "k-1", &order()).await;
    assert_eq!((first.status, again.status), (201, 201));
    assert_eq!(first.text, again.text);
    assert_eq!(first.header("location"), again.header("location"));
    assert_eq!(
        (first.header("idempotent-replayed"), again.header("idempotent-replayed")),
        (None, Some("true"))
    );
    assert_eq!(nodes.orders().await.len(), 1);
}

#[tokio::test]
async fn another_order_under_the_same_key_is_refused() {
    let nodes = Nodes::start().await;
    nodes.post_with_key(0, "k-1", &order()).await;
    let mut other = order();
    other["customerId"] = json!("CUST-002");
    let refused = nodes.post_with_key(1, "k-1", &other).await;
    assert_eq!(refused.status, 422, "{refused:?}");
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    assert_eq!(nodes.orders().await.len(), 1);
}

#[tokio::test]
async fn many_at_once_under_one_key_place_one_order() {
    let nodes = Nodes::start().await;
    let body = order();
    let answers = join_all((0..60).map(|n| nodes.post_with_key(n % 3, "k-1", &body))).await;
    assert!(answers.iter().all(|answer| answer.status == 201), "{answers:?}");
    let bodies: HashSet<_> = answers.iter().map(|answer| answer.text.as_str()).collect();
    assert_eq!(bodies.len(), 1);
    assert_eq!(answers.iter().filter(|answer| answer.header("idempotent-replayed").is_none()).count(), 1);
    assert_eq!(nodes.orders().await.len(), 1);
    eventually("the event arrives", async || nodes.events(2).await.len() == 1).await;
}

#[tokio::test]
async fn a_key_that_cannot_travel_or_that_nobody_would_keep_is_refused() {
    let nodes = Nodes::start().await;
    let long = nodes.post_with_key(0, &"k".repeat(256), &order()).await;
    assert_eq!(long.status, 400, "{long:?}");
    let id = nodes.place(0).await;
    let ship = nodes.request(0, reqwest::Method::POST, &format!("/orders/{id}/ship"));
    let kept = crate::client::answer(ship.header("Idempotency-Key", "k-2")).await;
    assert_eq!(kept.status, 400, "shipping keeps no keys: {kept:?}");
}
