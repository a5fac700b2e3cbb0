use std::time::Duration;

use bytes::Bytes;
use convoke_cluster::{Consistency, CoordinatorHealth, ErrorKind};
use convoke_core::{Executed, Leadership};
use convoke_testing::eventually;
use tokio::time::Instant;

use crate::support::{Nodes, PATIENCE, lines, write};

#[tokio::test(flavor = "multi_thread")]
async fn when_the_leader_dies_another_leads_and_nothing_acknowledged_is_lost() {
    let mut nodes = Nodes::in_memory(3);
    nodes.start_all().await;
    let (first, leader) = nodes.leader().await;
    let term = leader.leader().expect("it leads").term;
    let mut acknowledged = Vec::new();
    for number in 0..50 {
        let line = Bytes::from(format!("line {number}"));
        write(leader, line.clone()).await.expect("it is written");
        acknowledged.push(line);
    }
    nodes.kill(first);
    // Asked while nobody leads: it waits for the next leader.
    let (_, survivor) = nodes.running.first_key_value().expect("two are left");
    write(survivor, "after").await.expect("the next leader takes it");
    acknowledged.push(Bytes::from("after"));
    let (second, leader) = nodes.leader().await;
    assert_ne!(second, first);
    assert!(leader.leader().expect("it leads").term > term);
    for node in nodes.running.values() {
        assert_eq!(lines(node, Consistency::Linearizable).await, acknowledged);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_nodes_come_back_from_their_disks_with_all_they_acknowledged() {
    let mut nodes = Nodes::on_disk(3);
    nodes.start_all().await;
    let expected: Vec<_> = (0..100).map(|number| Bytes::from(format!("line {number}"))).collect();
    for line in &expected {
        write(nodes.leader().await.1, line.clone()).await.expect("it is written");
    }
    let term = nodes.leader().await.1.leader().expect("it leads").term;
    nodes.running.clear();
    nodes.start_all().await;
    let (_, leader) = nodes.leader().await;
    assert!(leader.leader().expect("it leads").term > term, "a term is never led twice");
    for node in nodes.running.values() {
        assert_eq!(lines(node, Consistency::Linearizable).await, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_majority_every_call_ends_by_its_deadline_and_says_whether_it_was_done() {
    let mut nodes = Nodes::in_memory(3);
    nodes.start_all().await;
    let (leads, leader) = nodes.leader().await;
    write(leader, "before").await.expect("it is written");
    let others: Vec<_> = nodes.running.keys().copied().filter(|id| *id != leads).collect();
    for other in others {
        nodes.kill(other);
    }
    let alone = &nodes.running[&leads];
    let within = Duration::from_millis(700);
    let began = Instant::now();
    let written = alone.propose("lost", began + within).await.expect_err("nobody takes it");
    assert!(matches!(written.executed(), Executed::Unknown | Executed::No), "{written:?}");
    for consistency in [Consistency::Linearizable, Consistency::Lease] {
        // The lease may hold for the first moments.
        eventually("no read is confirmed", async || {
            alone.barrier(consistency, Instant::now() + within / 2).await.is_err()
        })
        .await;
    }
    let began = Instant::now();
    let read =
        alone.barrier(Consistency::Linearizable, began + within).await.expect_err("nobody confirms it");
    assert_eq!((read.kind(), read.executed()), (ErrorKind::NoQuorum, Executed::No));
    assert!(began.elapsed() < within + Duration::from_secs(1), "{:?}", began.elapsed());
    alone.barrier(Consistency::Eventual, began).await.expect("it asks nobody");
    assert!(!alone.is_leader(), "the lease is over");
    assert!(matches!(alone.health(), CoordinatorHealth::Down(_)), "{:?}", alone.health());
    let fence = alone.confirm_leadership(Instant::now() + within).await;
    fence.expect_err("nobody confirms it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_is_left_alone_does_not_believe_in_its_leader_for_ever() {
    let mut nodes = Nodes::in_memory(3);
    nodes.start_all().await;
    let (leads, _) = nodes.leader().await;
    let follower = *nodes.running.keys().find(|id| **id != leads).expect("two follow");
    let follows = |leadership: &Leadership| matches!(leadership, Leadership::Follower { .. });
    let mut leadership = nodes.running[&follower].leadership();
    let told = tokio::time::timeout(PATIENCE, leadership.wait_for(follows)).await;
    told.expect("in time").expect("it runs");
    for id in nodes.running.keys().copied().filter(|id| *id != follower).collect::<Vec<_>>() {
        nodes.kill(id);
    }
    let alone = &nodes.running[&follower];
    eventually("it tells that nobody leads", async || match (leadership.borrow().clone(), alone.health()) {
        (Leadership::NoLeader, CoordinatorHealth::Down(_)) => Ok(()),
        other => Err(other),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_leader_nothing_was_done_and_that_is_said() {
    let mut nodes = Nodes::in_memory(3);
    // One of three cannot found a cluster.
    nodes.start(1).await;
    let alone = &nodes.running[&1];
    let within = Duration::from_millis(300);
    let error = alone.propose("lost", Instant::now() + within).await.expect_err("nobody leads");
    assert_eq!((error.kind(), error.executed()), (ErrorKind::NoLeader, Executed::No));
    assert!(matches!(alone.health(), CoordinatorHealth::Down(_)));
    alone.wait_for_leadership(within).await.expect_err("nobody leads");
    // The second one is enough.
    nodes.start(2).await;
    write(&nodes.running[&1], "now").await.expect("two of three are a majority");
    nodes.start(3).await;
    let late = lines(&nodes.running[&3], Consistency::Linearizable).await;
    assert_eq!(late, [Bytes::from("now")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stopped_says_so_at_once() {
    let mut nodes = Nodes::in_memory(1);
    let node = nodes.start(1).await;
    node.wait_for_leadership(PATIENCE).await.expect("it is alone");
    node.shutdown().await;
    let began = Instant::now();
    let error = node.propose("late", Instant::now() + PATIENCE).await.expect_err("it stopped");
    assert_eq!(error.kind(), ErrorKind::Stopped);
    assert!(began.elapsed() < PATIENCE / 2);
    assert!(!node.is_leader());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_does_not_forward_says_who_leads_instead() {
    let mut nodes = Nodes::in_memory(3);
    nodes.forward = false;
    nodes.start_all().await;
    let (_, follower) = nodes.follower().await;
    follower.wait_for_leader(PATIENCE).await.expect("there is one");
    let error = follower.propose("line", Instant::now() + PATIENCE).await.expect_err("it does not lead");
    assert_eq!((error.kind(), error.executed()), (ErrorKind::NotLeader, Executed::No));
    assert!(follower.leader().is_some());
}
