//! A cluster whose messages NATS carries.

use convoke_testing::{eventually_within, servers::NatsServer};
use tempfile::TempDir;

use super::process::{PATIENCE, Ports, Process, agreed};

#[tokio::test]
async fn with_nats_orders_go_to_any_node_and_numbers_come_from_the_leader() {
    let Some(server) = NatsServer::start_or_skip("a cluster beside NATS").await else { return };
    let (folder, ports) = (TempDir::new().unwrap(), Ports::claim());
    let first = ports.first;
    let peer = |n: u16| format!("node{n}=127.0.0.1:{}:{}", first + 1_000 + n, first + n);
    let peers = [peer(0), peer(1), peer(2)].join(",");
    let node = |n: u16| {
        let (name, listen) = (format!("node{n}"), format!("127.0.0.1:{}", first + n));
        let raft = (first + 1_000 + n).to_string();
        let url = server.url();
        let arguments = [
            "node",
            "--cluster",
            "--node",
            &name,
            "--listen",
            &listen,
            "--raft-port",
            &raft,
            "--peers",
            &peers,
            "--nats",
            &url,
        ];
        Process::start(folder.path(), &name, first + n, &arguments)
    };
    let nodes: Vec<_> = (0..3).map(node).collect();
    for node in &nodes {
        node.ready().await;
    }
    agreed(&nodes.iter().collect::<Vec<_>>(), 0).await;
    let order = nodes[0].place().await;
    for (n, node) in nodes.iter().enumerate() {
        assert_eq!(node.get(&format!("/orders/{order}")).await.status, 200);
        let answer = node.number(&order).await;
        assert_eq!((answer.status, &answer.body["number"]), (200, &1.into()), "{n}: {answer:?}");
        let (leader, term) = (answer.body["handledBy"].as_str().unwrap(), answer.number("raft-term"));
        let as_seen = async || match node.leader().await {
            // Another one may lead by now, in a later term.
            Some((name, seen)) if seen > term || (seen == term && name == leader) => Ok(()),
            other => Err(other),
        };
        eventually_within(PATIENCE, "the leader did it", as_seen).await;
    }
}
