//! Order by key over the nodes of a group, with claims on NATS and a node that is cut off for a while.
#![cfg(feature = "nats")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use convoke::{App, Context, Event, Handled, Node, State, handler, nats};
use convoke_testing::{eventually, proxy::TcpProxy, servers::NatsServer};
use serde::{Deserialize, Serialize};

const KEYS: u32 = 16;

#[derive(Debug, Clone, Serialize, Deserialize, Event)]
#[event(name = "lanes.moved.v1", key = account)]
struct Moved {
    account: u32,
    number: u32,
}

/// A number, and the node that handled it.
type Done = (u32, String);

/// What was done to each account, by whom.
#[derive(Clone, Default)]
struct Accounts(Arc<Mutex<BTreeMap<u32, Vec<Done>>>>);

impl Accounts {
    fn numbers(&self) -> BTreeMap<u32, Vec<u32>> {
        let accounts = self.0.lock().unwrap();
        accounts
            .iter()
            .map(|(account, done)| (*account, done.iter().map(|(number, _)| *number).collect()))
            .collect()
    }
    fn by(&self, node: &str) -> usize {
        self.0.lock().unwrap().values().flatten().filter(|(_, by)| by == node).count()
    }
    /// Whether each account has had all of it.
    fn has(&self, all: u32) -> bool {
        let numbers = self.numbers();
        numbers.len() == KEYS as usize && numbers.values().all(|done| done.last() == Some(&(all - 1)))
    }
}

#[handler(group = "ledger")]
async fn move_money(event: Moved, cx: &Context, State(accounts): State<Accounts>) -> Handled {
    tokio::time::sleep(Duration::from_millis(3)).await;
    accounts.0.lock().unwrap().entry(event.account).or_default().push((event.number, cx.node().to_owned()));
    Ok(())
}

async fn node(url: &str, id: &str, accounts: &Accounts) -> Node {
    let transport = nats::Transport::connect(url).await.unwrap();
    let stores = transport.stores();
    let app = App::new("lanes").node(id).transport(transport).stores(stores);
    let node = app.state(accounts.clone()).discover().start().await.unwrap();
    node.ready(Duration::from_secs(20)).await.unwrap();
    node
}

async fn publish(node: &Node, numbers: std::ops::Range<u32>) {
    for number in numbers {
        for account in 0..KEYS {
            node.mediator().publish(Moved { account, number }).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_keys_are_handled_in_order_while_a_node_is_cut_off_and_comes_back() {
    let Some(server) = NatsServer::start_or_skip("lanes").await else { return };
    let accounts = Accounts::default();
    let proxy = TcpProxy::to_port(server.port()).await.unwrap();
    let behind = format!("nats://{}", proxy.address());
    let (one, two) = (node(&server.url(), "n1", &accounts).await, node(&server.url(), "n2", &accounts).await);
    let cut_off = node(&behind, "n3", &accounts).await;
    let mut published = 0;
    let all_share = || ["n1", "n2", "n3"].iter().all(|node| accounts.by(node) > 0);
    while !all_share() {
        publish(&one, published..published + 1).await;
        published += 1;
        assert!(published < 1000, "all nodes share the lanes");
    }
    publish(&one, published..published + 20).await; // some of them are with the node when its link breaks
    proxy.blackhole();
    publish(&one, published + 20..published + 40).await;
    published += 40;
    eventually("the others have done it all", || async { accounts.has(published) }).await;
    proxy.heal();
    let before = accounts.by("n3");
    while accounts.by("n3") == before {
        publish(&one, published..published + 1).await;
        published += 1;
        assert!(published < 5000, "the node has its share again");
    }
    eventually("all is done", || async { accounts.has(published) }).await;
    for (account, done) in accounts.numbers() {
        assert!(done.is_sorted(), "account {account} was handled in order: {done:?}");
        let mut each = done.clone();
        each.dedup();
        assert_eq!(each, (0..published).collect::<Vec<_>>(), "account {account}: nothing is lost");
    }
    for node in [one, two, cut_off] {
        node.stop().await;
    }
}
