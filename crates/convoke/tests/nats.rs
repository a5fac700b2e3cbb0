//! The whole way over a real server: three nodes, claims and marks on NATS.
#![cfg(feature = "nats")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use convoke::{
    App, Command, Config, Context, Event, Handled, Mediator, Node, Outcome, SendError, State, handler, nats,
};
use convoke_testing::{eventually, eventually_within, servers::NatsServer};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize, Command)]
#[command(name = "whole.place.v1", reply = String)]
struct Place {
    number: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize, Command)]
#[command(name = "whole.pay.v1", reply = String, idempotent)]
struct Pay {
    cents: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize, Event)]
#[event(name = "whole.placed.v1", key = number)]
struct Placed {
    number: u32,
}

/// What happened, and how often.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<BTreeMap<String, u32>>>);

impl Seen {
    fn add(&self, what: impl Into<String>) {
        *self.0.lock().unwrap().entry(what.into()).or_default() += 1;
    }
    fn of(&self, prefix: &str) -> (usize, u32) {
        let seen = self.0.lock().unwrap();
        let matching = seen.iter().filter(|(what, _)| what.starts_with(prefix));
        (matching.clone().count(), matching.map(|(_, times)| *times).max().unwrap_or(0))
    }
}

#[handler]
async fn place(cmd: Place, cx: &Context) -> Outcome<Place> {
    cx.publish(Placed { number: cmd.number });
    Ok(cx.node().to_owned())
}

#[handler]
async fn pay(cmd: Pay, cx: &Context, State(seen): State<Seen>) -> Outcome<Pay> {
    seen.add(format!("pay {}", cmd.cents));
    tokio::time::sleep(Duration::from_millis(30)).await;
    Ok(format!("{} by {}", cx.id(), cx.node()))
}

#[handler]
async fn on_placed(event: Placed, cx: &Context, State(seen): State<Seen>) -> Handled {
    seen.add(format!("{} {}", cx.node(), event.number));
    Ok(())
}

#[handler(group = "billing")]
async fn bill(event: Placed, State(seen): State<Seen>) -> Handled {
    seen.add(format!("billed {}", event.number));
    Ok(())
}

#[handler(view)]
async fn view(event: Placed, cx: &Context, State(seen): State<Seen>) -> Handled {
    seen.add(format!("view of {} {}", cx.node(), event.number));
    Ok(())
}

async fn node(server: &NatsServer, id: &str, seen: &Seen) -> Node {
    let transport = nats::Transport::connect(server.url()).await.unwrap();
    let mut config = Config::default();
    config.lease = Duration::from_secs(2);
    let stores = transport.stores();
    let app = App::new("whole").node(id).config(config).transport(transport).stores(stores);
    let node = app.state(seen.clone()).discover().start().await.unwrap();
    node.ready(Duration::from_secs(20)).await.unwrap();
    node
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_run_once_and_events_reach_every_node_also_after_a_restart() {
    let Some(server) = NatsServer::start_or_skip("whole way").await else { return };
    let seen = Seen::default();
    let mut nodes = Vec::new();
    for id in ["n1", "n2", "n3"] {
        nodes.push(node(&server, id, &seen).await);
    }
    let mediators: Vec<Mediator> = nodes.iter().map(Node::mediator).collect();
    let mut by_node = BTreeMap::new();
    for number in 0..90 {
        let handled_by = mediators[number as usize % 3].send(Place { number }).await.unwrap();
        *by_node.entry(handled_by).or_insert(0) += 1;
    }
    assert_eq!(by_node.len(), 3, "all three work: {by_node:?}");
    for what in ["n1 ", "n2 ", "n3 ", "billed ", "view of n1 "] {
        eventually(what, || async { seen.of(what).0 == 90 }).await;
        assert_eq!(seen.of(what), (90, 1), "{what}");
    }
    nodes.remove(2).stop().await;
    for number in 90..100 {
        mediators[0].send(Place { number }).await.unwrap();
    }
    let back = node(&server, "n3", &seen).await;
    eventually("the node catches up", || async { seen.of("n3 ").0 == 100 }).await;
    assert_eq!(seen.of("n3 "), (100, 1), "what it had handled is not handled again");
    eventually("its view is complete", || async { seen.of("view of n3 ").0 == 100 }).await;
    for node in nodes.into_iter().chain([back]) {
        assert_eq!(node.stop().await.lost, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_runs_once_over_all_nodes_and_outlives_the_server() {
    let Some(server) = NatsServer::start_or_skip("one key").await else { return };
    let seen = Seen::default();
    let (one, two) = (node(&server, "n1", &seen).await, node(&server, "n2", &seen).await);
    let (a, b) = (one.mediator(), two.mediator());
    let calls = (0..100).map(|n| {
        let mediator = if n % 2 == 0 { a.clone() } else { b.clone() };
        tokio::spawn(async move { mediator.send(Pay { cents: 5 }).idempotency_key("basket").await })
    });
    let mut replies = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        replies.push(call.await.unwrap().unwrap());
    }
    replies.dedup();
    assert_eq!((replies.len(), seen.of("pay 5")), (1, (1, 1)), "{replies:?}");

    server.kill();
    let down = a.send(Pay { cents: 5 }).idempotency_key("basket").timeout(Duration::from_secs(2)).await;
    assert!(matches!(down, Err(SendError::Unavailable(_) | SendError::Disconnected)), "{down:?}");
    server.restart().await.unwrap();
    eventually_within(Duration::from_secs(10), "ready again", || async { one.health().await.is_ready() })
        .await;
    let again = a.send(Pay { cents: 5 }).idempotency_key("basket").await.unwrap();
    assert_eq!(
        (again, seen.of("pay 5")),
        (replies[0].clone(), (1, 1)),
        "the stored reply outlived the server"
    );
    for node in [one, two] {
        node.stop().await;
    }
}
