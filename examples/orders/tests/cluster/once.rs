use std::collections::HashSet;

use convoke_testing::{
    eventually,
    servers::{NatsServer, RedisServer},
};
use futures_util::future::join_all;

use crate::process::Node;

const AT_ONCE: usize = 200;

/// Many callers with one key over three nodes: one order, and one and the same answer for all.
async fn one_key_places_one_order(nodes: &[Node; 3]) {
    let calls = (0..AT_ONCE).map(|n| nodes[n % 3].place("one-key"));
    let answers: Vec<_> =
        join_all(calls).await.into_iter().map(|answer| answer.expect("an answer")).collect();
    let wrong: Vec<_> = answers.iter().filter(|answer| answer.status != 201).collect();
    assert!(wrong.is_empty(), "{} of {AT_ONCE}: {:?}", wrong.len(), wrong.first());
    assert_eq!(answers.iter().map(|answer| &answer.text).collect::<HashSet<_>>().len(), 1);
    let first = answers.iter().filter(|answer| !answer.headers.contains_key("idempotent-replayed")).count();
    assert!(first <= 1, "{first} say that they ran");
    for node in nodes {
        assert_eq!(node.orders().await, [answers[0].text_of("orderId")]);
        eventually("the event arrives", async || node.events().await.len() == 1).await;
    }
    let handled = nodes.iter().filter(|node| node.said("handles PlaceOrder").is_some()).count();
    assert_eq!(handled, 1, "one node ran it");
}

async fn one_shipment_succeeds(nodes: &[Node; 3]) {
    for n in 0..10 {
        let id = nodes[0].place(&format!("ship-{n}")).await.expect("an answer").text_of("orderId");
        let mut statuses: Vec<_> =
            join_all(nodes.iter().map(|node| node.ship(&id))).await.iter().map(|a| a.status).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409, 409]);
    }
}

#[tokio::test]
async fn with_nats_alone_one_key_places_one_order() {
    let Some(nats) = NatsServer::start_or_skip("with_nats_alone_one_key_places_one_order").await else {
        return;
    };
    let nodes = Node::three(&nats, None).await;
    one_key_places_one_order(&nodes).await;
    one_shipment_succeeds(&nodes).await;
}

#[tokio::test]
async fn with_redis_one_key_places_one_order() {
    let test = "with_redis_one_key_places_one_order";
    let Some(nats) = NatsServer::start_or_skip(test).await else { return };
    let Some(redis) = RedisServer::start_or_skip(test).await else { return };
    let nodes = Node::three(&nats, Some(&redis)).await;
    one_key_places_one_order(&nodes).await;
    one_shipment_succeeds(&nodes).await;
}

#[tokio::test]
async fn without_its_redis_an_order_is_refused_and_nothing_is_stored() {
    let test = "without_its_redis_an_order_is_refused_and_nothing_is_stored";
    let Some(nats) = NatsServer::start_or_skip(test).await else { return };
    let builder = RedisServer::builder().append_only();
    let Some(redis) = builder.start_or_skip(test).await else { return };
    let nodes = Node::three(&nats, Some(&redis)).await;
    redis.pause();
    let answers = join_all((0..6).map(|n| nodes[n % 3].place("one-key"))).await;
    for answer in answers {
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, 503, "{answer:?}");
        assert_eq!(answer.json()["executed"], "no");
        assert!(answer.headers.contains_key("retry-after"));
    }
    redis.resume();
    for node in &nodes {
        node.ready().await;
    }
    assert!(nodes[0].orders().await.is_empty());
    let placed = nodes[1].place("one-key").await.expect("an answer");
    assert_eq!(placed.status, 201, "{placed:?}");
    assert_eq!(nodes[0].orders().await.len(), 1);
}
