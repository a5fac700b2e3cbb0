use std::time::Duration;

use convoke_testing::{
    eventually, eventually_within,
    servers::{NatsServer, RedisServer},
};

use crate::process::Node;

/// How soon a node is ready again when its server is back.
const BACK_WITHIN: Duration = Duration::from_secs(10);

/// Alive, not ready, and saying what is missing.
async fn waits_for(node: &Node, name: &str) {
    eventually("readiness drops", async || node.get("/readyz").await.status == 503).await;
    assert_eq!(node.get("/livez").await.status, 200);
    let health = node.get("/health").await;
    assert_eq!((health.status, health.json()["status"].as_str()), (503, Some("Unhealthy")), "{health:?}");
    assert!(health.text.contains(name), "{health:?}");
}

async fn works_again(node: &Node, key: &str) {
    eventually_within(BACK_WITHIN, "ready again", async || node.get("/readyz").await.status == 200).await;
    let placed = node.place(key).await.expect("an answer");
    assert_eq!(placed.status, 201, "{placed:?}");
}

#[tokio::test]
async fn a_node_outlives_its_nats_and_comes_back_with_it() {
    let Some(nats) = NatsServer::start_or_skip("a_node_outlives_its_nats_and_comes_back_with_it").await
    else {
        return;
    };
    let node = Node::one("node1", &nats, None).await;
    node.ready().await;
    assert_eq!(node.place("before").await.expect("an answer").status, 201);
    nats.kill();
    waits_for(&node, "nats").await;
    let refused = node.place("meanwhile").await.expect("an answer");
    assert_eq!(refused.status, 503, "{refused:?}");
    nats.restart().await.expect("the server comes back");
    works_again(&node, "after").await;
    assert_eq!(node.orders().await.len(), 2);
    eventually("both events are there", async || node.events().await.len() == 2).await;
}

#[tokio::test]
async fn a_node_that_starts_before_its_nats_waits_for_it() {
    let Some(nats) = NatsServer::start_or_skip("a_node_that_starts_before_its_nats_waits_for_it").await
    else {
        return;
    };
    nats.kill();
    let node = Node::one("node1", &nats, None).await;
    waits_for(&node, "nats").await;
    nats.restart().await.expect("the server comes back");
    works_again(&node, "first").await;
    eventually("the event is there", async || node.events().await.len() == 1).await;
}

#[tokio::test]
async fn a_node_outlives_its_redis_and_comes_back_with_it() {
    let test = "a_node_outlives_its_redis_and_comes_back_with_it";
    let Some(nats) = NatsServer::start_or_skip(test).await else { return };
    let Some(redis) = RedisServer::builder().append_only().start_or_skip(test).await else { return };
    redis.kill();
    let node = Node::one("node1", &nats, Some(&redis)).await;
    waits_for(&node, "redis").await;
    redis.restart().await.expect("the server comes back");
    works_again(&node, "first").await;
    redis.kill();
    waits_for(&node, "redis").await;
    let listed = node.get("/orders").await;
    assert_eq!(listed.status, 503, "{listed:?}");
    redis.restart().await.expect("the server comes back");
    works_again(&node, "second").await;
}

#[tokio::test]
async fn an_order_whose_redis_was_killed_is_refused_and_nothing_is_stored() {
    let test = "an_order_whose_redis_was_killed_is_refused_and_nothing_is_stored";
    let Some(nats) = NatsServer::start_or_skip(test).await else { return };
    let builder = RedisServer::builder().append_only().option("appendfsync", "always");
    let Some(redis) = builder.start_or_skip(test).await else { return };
    let node = Node::one("node1", &nats, Some(&redis)).await;
    node.ready().await;
    redis.kill();
    // At once, while the node may not know yet, and later, when it does.
    for n in 0..4 {
        if n == 2 {
            waits_for(&node, "redis").await;
        }
        let refused = node.place("one-key").await.expect("an answer");
        assert_eq!(refused.status, 503, "{refused:?}");
        assert_eq!(refused.headers["content-type"], "application/problem+json");
        assert_eq!(refused.json()["executed"], "no");
        assert!(refused.headers.contains_key("retry-after"), "{refused:?}");
    }
    redis.restart().await.expect("the server comes back");
    eventually_within(BACK_WITHIN, "ready again", async || node.get("/readyz").await.status == 200).await;
    assert!(node.orders().await.is_empty());
    works_again(&node, "one-key").await;
    assert_eq!(node.orders().await.len(), 1);
    eventually("one event arrives", async || node.events().await.len() == 1).await;
}
