//! Nodes are told to stop.
use convoke_testing::eventually;
use rustix::process::Signal;
use serde_json::json;

use crate::nodes::Nodes;

#[tokio::test]
async fn ctrl_c_ends_the_leader_in_order_while_the_others_go_on() {
    let mut nodes = Nodes::start().await;
    let leads = nodes.settled().await;
    let other = (leads + 1) % 3;
    nodes.nodes[leads].signal(Signal::INT);
    for n in 0..50 {
        let answer = nodes.put(other, &format!("k{n}"), "v").await.expect("an answer");
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let status = nodes.nodes[leads].ended().await;
    let said = nodes.nodes[leads].said();
    assert!(status.success(), "{status}: {said:#?}");
    assert!(said.iter().any(|line| line.ends_with("ended; HTTP requests cut off: 0")), "{said:#?}");
    assert!(said.iter().any(|line| line.contains("leadership was handed over")), "{said:#?}");
    nodes.settled_without(&[leads]).await;
    nodes.start_again(leads);
    nodes.settled().await;
    let read = nodes.get(leads, "/kv/k49").await;
    assert_eq!((read.status, read.json()), (200, json!({ "value": "v" })));
}

#[tokio::test]
async fn a_node_that_stops_says_so_first_and_goes_on_serving() {
    let nodes = Nodes::start_with(&["--drain-delay", "3s"]).await;
    let leads = nodes.settled().await;
    nodes.nodes[leads].signal(Signal::TERM);
    let neither = async || [nodes.is(leads, "primary").await, nodes.is(leads, "replica").await] == [503, 503];
    eventually("it is neither primary nor replica", neither).await;
    let answer = nodes.put(leads, "k", "through the one that stops").await.expect("it still serves");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("connection"), Some("close"), "{answer:?}");
}

#[tokio::test]
async fn ctrl_c_for_all_ends_all() {
    let mut nodes = Nodes::start().await;
    for node in &nodes.nodes {
        node.signal(Signal::INT);
    }
    for node in &mut nodes.nodes {
        let status = node.ended().await;
        assert!(status.success(), "{status}: {:#?}", node.said());
    }
}
