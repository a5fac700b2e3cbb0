//! Many at once.

use std::time::Duration;

use convoke_core::{ClaimKey, ClaimStore, Claimed};
use convoke_nats::{Stores, StoresConfig};
use convoke_testing::{eventually, servers::NatsServer};
use futures_util::future::join_all;

use crate::support::{LONG, claim, connect, jetstream, key, own, works};

const RACERS: usize = 200;

/// How many of those who claim at once own the key; the others are told that it is busy.
async fn winners(nodes: &[Stores], key: &ClaimKey) -> usize {
    let race = (0..RACERS).map(|at| {
        let (stores, key) = (nodes[at % nodes.len()].clone(), key.clone());
        tokio::spawn(async move { stores.claim(&key, claim(LONG)).await.expect("the store answers") })
    });
    let mut winners = 0;
    for claimed in join_all(race).await {
        match claimed.expect("no panic") {
            Claimed::Owned { .. } => winners += 1,
            Claimed::Busy { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    winners
}

async fn nodes(server: &NatsServer) -> Vec<Stores> {
    let config = || StoresConfig::default().timeout(Duration::from_secs(20));
    join_all((0..4).map(|_| connect(server.url(), config()))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_hundred_owners_on_four_nodes_gets_a_free_key() {
    let test = "one_of_two_hundred_owners_on_four_nodes_gets_a_free_key";
    let Some(server) = NatsServer::start_or_skip(test).await else { return };
    let nodes = nodes(&server).await;
    for round in 0..3 {
        assert_eq!(winners(&nodes, &key(&round.to_string())).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_hundred_owners_on_four_nodes_takes_over_an_expired_key() {
    let test = "one_of_two_hundred_owners_on_four_nodes_takes_over_an_expired_key";
    let Some(server) = NatsServer::start_or_skip(test).await else { return };
    let nodes = nodes(&server).await;
    let (taken, clock) = (key("taken"), key("clock"));
    own(&nodes[0], &taken, Duration::from_millis(200)).await;
    // claimed later for as long: when this one is free, so is the other
    own(&nodes[0], &clock, Duration::from_millis(200)).await;
    eventually("the lease ran out", async || {
        let claimed = nodes[1].claim(&clock, claim(LONG)).await.expect("the store answers");
        matches!(claimed, Claimed::Owned { .. })
    })
    .await;
    assert_eq!(winners(&nodes, &taken).await, 1);
}

#[tokio::test]
async fn a_claim_that_is_completed_costs_two_writes_and_no_read() {
    let test = "a_claim_that_is_completed_costs_two_writes_and_no_read";
    let Some(server) = NatsServer::start_or_skip(test).await else { return };
    let stores = connect(server.url(), StoresConfig::default()).await;
    works(&stores, "declares the bucket").await;

    let jetstream = jetstream(&server).await;
    let observer = jetstream.client();
    let mut heard = observer.subscribe(">").await.expect("it listens");
    observer.flush().await.expect("sent");
    observer.publish("first", "".into()).await.expect("sent");
    let next = async |heard: &mut async_nats::Subscriber| {
        use futures_util::StreamExt;
        let message = tokio::time::timeout(LONG, heard.next()).await.expect("in time").expect("it goes on");
        message.subject.to_string()
    };
    while next(&mut heard).await != "first" {}

    let key = key("k");
    let holder = own(&stores, &key, LONG).await;
    assert!(stores.renew(&key, holder, LONG).await.expect("the store answers"));
    assert!(stores.complete(&key, holder, crate::support::done(), LONG).await.expect("the store answers"));

    observer.publish("last", "".into()).await.expect("sent");
    let mut subjects = Vec::new();
    loop {
        match next(&mut heard).await {
            last if last == "last" => break,
            answer if answer.starts_with("_INBOX.") => {}
            subject => subjects.push(subject),
        }
    }
    // the renewal is one more
    assert_eq!(subjects, vec!["$KV.CONVOKE_CLAIMS.it.aw"; 3]);
}
