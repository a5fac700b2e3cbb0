use convoke_testing::servers::NatsServer;

use crate::process::Node;

/// A queue group picks at random: a member that gets none of so many is no member.
const ORDERS: usize = 60;

#[tokio::test]
async fn a_worker_handles_orders_that_others_take() {
    let test = "a_worker_handles_orders_that_others_take";
    let Some(nats) = NatsServer::start_or_skip(test).await else { return };
    let url = nats.url();
    let worker = Node::start(&["--node", "worker1", "--role", "worker", "--nats", &url]).await;
    let api = Node::one("node1", &nats, None).await;
    worker.ready().await;
    api.ready().await;
    let mut by_worker = 0;
    for n in 0..ORDERS {
        let placed = api.place(&format!("k-{n}")).await.expect("an answer");
        assert_eq!(placed.status, 201, "{placed:?}");
        by_worker += usize::from(placed.text_of("handledBy") == "worker1");
    }
    assert!(by_worker > 0 && by_worker < ORDERS, "{by_worker} of {ORDERS}");
    assert!(worker.said("worker1 handles PlaceOrder").is_some());
    assert_eq!(worker.get("/orders").await.status, 404);
    assert_eq!(worker.get("/health").await.text_of("node"), "worker1");
}

#[tokio::test]
async fn nodes_of_another_namespace_are_not_seen() {
    let test = "nodes_of_another_namespace_are_not_seen";
    let Some(nats) = NatsServer::start_or_skip(test).await else { return };
    let url = nats.url();
    let ours = Node::one("node1", &nats, None).await;
    // The same id: it is another node, because it is another namespace.
    let theirs = Node::start(&["--node", "node1", "--namespace", "staging", "--nats", &url]).await;
    ours.ready().await;
    theirs.ready().await;
    let placed = ours.place("k").await.expect("an answer");
    let id = placed.text_of("orderId");
    assert_eq!(theirs.get(&format!("/orders/{id}")).await.status, 404);
    let staged = theirs.place("k").await.expect("an answer");
    assert_eq!(staged.status, 201);
    assert!(!staged.headers.contains_key("idempotent-replayed"), "the key is theirs");
    assert_ne!(staged.text_of("orderId"), id);
    assert_eq!((ours.orders().await.len(), theirs.orders().await.len()), (1, 1));
}
