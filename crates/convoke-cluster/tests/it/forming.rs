use std::time::Duration;

use convoke_cluster::{Cluster, Consistency, Leadership};

use crate::support::{Nodes, PATIENCE, lines, write};

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_elect_one_leader_and_all_know_it() {
    let mut nodes = Nodes::in_memory(3);
    nodes.start_all().await;
    let (id, leader) = nodes.leader().await;
    let info = leader.leader().expect("it leads");
    assert_eq!(info.node, format!("n{id}"));
    for (other, node) in nodes.running.iter().filter(|(other, _)| **other != id) {
        let known = node.wait_for_leader(PATIENCE).await.expect("there is one");
        assert_eq!(known, info, "as n{other} knows it");
        assert!(matches!(&*node.leadership().borrow(), Leadership::Follower { leader } if *leader == info));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_any_node_writes_every_node_reads_in_the_three_consistencies() {
    let mut nodes = Nodes::in_memory(3);
    nodes.start_all().await;
    let mut expected = Vec::new();
    for (id, node) in &nodes.running {
        let line = format!("from n{id}");
        assert_eq!(write(node, line.clone()).await.expect("it is written"), expected.len() as u64 + 1);
        expected.push(bytes::Bytes::from(line));
    }
    for node in nodes.running.values() {
        assert_eq!(lines(node, Consistency::Linearizable).await, expected);
        assert_eq!(lines(node, Consistency::Lease).await, expected);
        assert_eq!(lines(node, Consistency::Eventual).await, expected, "after the others, this is as fresh");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_alone_leads_itself() {
    let mut nodes = Nodes::in_memory(1);
    let node = nodes.start(1).await;
    node.wait_for_leadership(Duration::from_secs(5)).await.expect("nobody else can");
    assert_eq!(write(node, "alone").await.expect("it is written"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_and_the_locks_of_one_node_are_those_of_every_node() {
    let mut nodes = Nodes::in_memory(3);
    let founders: Vec<_> = nodes.founders.keys().copied().collect();
    let starting = founders.iter().map(|id| Cluster::start(nodes.config(*id)));
    let started = futures_util::future::try_join_all(starting).await.expect("they start");
    let version = started[0].kv().put("order", "placed").await.expect("it is written");
    let entry = started[1].kv().get("order").linearizable().await.expect("it is read").expect("it is there");
    assert_eq!((entry.version, &entry.bytes[..]), (version, &b"placed"[..]));
    let guard = started[2].try_lock("nightly").await.expect("a leader answers").expect("it is free");
    assert!(started[0].try_lock("nightly").await.expect("a leader answers").is_none());
    drop(guard);
    let _held = started[0].lock("nightly").acquire(PATIENCE).await.expect("it was released");
    nodes.running.clear();
}
