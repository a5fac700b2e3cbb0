use std::time::Duration;

use convoke_testing::servers::NatsServer;
use futures_util::future::join_all;
use rustix::process::Signal;
use tokio::time::Instant;

use crate::process::Node;

/// How long a node may take to end.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_signal_ends_a_node_in_order_while_the_others_go_on() {
    let test = "a_signal_ends_a_node_in_order_while_the_others_go_on";
    let Some(nats) = NatsServer::start_or_skip(test).await else { return };
    let [first, mut second, mut third] = Node::three(&nats, None).await;
    let calls = join_all((0..150).map(|n| {
        let first = &first;
        async move { first.place(&format!("k-{n}")).await.expect("an answer") }
    }));
    let stops = async {
        let begun = Instant::now();
        second.signal(Signal::TERM);
        third.signal(Signal::INT);
        for node in [&mut second, &mut third] {
            let status = node.ended(ENDS_WITHIN).await;
            assert!(status.success(), "{status}: {:?}", node.lines());
            assert!(node.said(" ended: finished ").is_some(), "{:?}", node.lines());
        }
        assert!(begun.elapsed() < ENDS_WITHIN);
    };
    let (answers, ()) = tokio::join!(calls, stops);
    let wrong: Vec<_> = answers.iter().filter(|answer| answer.status != 201).collect();
    assert!(wrong.is_empty(), "{} of 150: {:?}", wrong.len(), wrong.first());
    assert_eq!(first.orders().await.len(), 150);
}
