use std::collections::{BTreeMap, BTreeSet, HashMap};

use convoke_testing::{eventually_within, servers::NatsServer};
use std::time::Duration;

use crate::process::Node;

const ORDERS: usize = 300;

/// Every node knows every order, and got the event of each once.
async fn all_nodes_have(nodes: &[Node; 3], accepted: &BTreeSet<String>) {
    for node in nodes {
        let arrived = async || {
            let count = node.events().await.len();
            if count >= accepted.len() { Ok(()) } else { Err(count) }
        };
        eventually_within(Duration::from_secs(20), "all events arrive", arrived).await;
        let mut events: BTreeMap<String, usize> = BTreeMap::new();
        for event in node.events().await {
            assert_eq!(event["type"], "orders.placed.v1");
            *events.entry(event["orderId"].as_str().expect("an id").to_owned()).or_default() += 1;
        }
        assert_eq!(events.keys().cloned().collect::<BTreeSet<_>>(), *accepted);
        assert!(events.values().all(|count| *count == 1), "{events:?}");
        let orders = node.orders().await;
        assert_eq!(orders.len(), accepted.len());
        assert_eq!(orders.into_iter().collect::<BTreeSet<_>>(), *accepted);
    }
}

#[tokio::test]
async fn each_order_is_handled_by_one_node_and_received_by_all() {
    let test = "each_order_is_handled_by_one_node_and_received_by_all";
    let Some(nats) = NatsServer::start_or_skip(test).await else { return };
    let nodes = Node::three(&nats, None).await;
    let (mut accepted, mut handled_by) = (BTreeSet::new(), HashMap::<String, usize>::new());
    for n in 0..ORDERS {
        let placed = nodes[n % 3].place(&format!("k-{n}")).await.expect("an answer");
        assert_eq!(placed.status, 201, "{placed:?}");
        accepted.insert(placed.text_of("orderId"));
        *handled_by.entry(placed.text_of("handledBy")).or_default() += 1;
    }
    assert_eq!(accepted.len(), ORDERS);
    assert_eq!(handled_by.len(), 3, "{handled_by:?}");
    all_nodes_have(&nodes, &accepted).await;
    let handles =
        |node: &Node| node.lines().iter().filter(|line| line.contains("handles PlaceOrder")).count();
    assert_eq!(nodes.iter().map(handles).sum::<usize>(), ORDERS, "each by exactly one");
}

#[tokio::test]
async fn a_node_that_is_killed_and_started_again_misses_nothing() {
    let test = "a_node_that_is_killed_and_started_again_misses_nothing";
    let Some(nats) = NatsServer::start_or_skip(test).await else { return };
    let mut nodes = Node::three(&nats, None).await;
    let mut accepted = BTreeSet::new();
    for n in 0..ORDERS {
        match n {
            100 => nodes[2].kill(),
            200 => nodes[2] = nodes[2].start_again().await,
            _ => {}
        }
        // A caller goes to the next node when one does not answer, with the same key.
        let mut placed = None;
        for node in [n % 3, (n + 1) % 3] {
            if let Ok(answer) = nodes[node].place(&format!("k-{n}")).await {
                placed = Some(answer);
                break;
            }
        }
        let placed = placed.expect("one of two nodes answers");
        assert_eq!(placed.status, 201, "order {n}: {placed:?}");
        accepted.insert(placed.text_of("orderId"));
    }
    assert_eq!(accepted.len(), ORDERS);
    all_nodes_have(&nodes, &accepted).await;
}
