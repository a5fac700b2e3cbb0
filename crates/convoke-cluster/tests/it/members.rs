use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use convoke_cluster::{Cluster, Config, Consistency, ErrorKind, Member, NodeId, Role, Timing};
use convoke_testing::eventually;

use crate::support::{Journal, Nodes, PATIENCE, free_address, lines, write};

/// A node that waits to be added at any of these.
async fn newcomer(nodes: &Nodes, name: &str, snapshot_every: u64) -> (Member, Cluster<Journal>) {
    let address = free_address();
    let config = Config::new(&address).node(name).timing(Timing::LAN_FAST).snapshot_every(snapshot_every);
    let config = nodes.founders.values().fold(config, |config, member| config.join(&member.raft));
    let started = Cluster::start_with(config, Journal::default()).await.expect("it starts");
    (Member::new(name, address), started)
}

fn roles(node: &Cluster<Journal>) -> Vec<(NodeId, Role)> {
    node.members().into_iter().map(|info| (info.id, info.role)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_catches_up_by_snapshot_votes_and_replaces_the_leader_under_load() {
    let mut nodes = Nodes::on_disk(3);
    nodes.snapshot_every = 60;
    nodes.start_all().await;
    let (old, leader) = nodes.leader().await;
    for number in 0..300 {
        write(leader, format!("before {number}")).await.expect("it is written");
    }
    let (member, joined) = newcomer(&nodes, "n4", 60).await;
    let stop = Arc::new(AtomicBool::new(false));
    let written = Arc::new(AtomicU64::new(0));
    let (_, through) = nodes.follower().await;
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (through, stop, written) = (through.clone(), Arc::clone(&stop), Arc::clone(&written));
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    let number = written.fetch_add(1, Ordering::SeqCst);
                    write(&through, format!("load {number}")).await.expect("no write fails");
                }
            })
        })
        .collect();
    let id = through.add_learner(member).await.expect("it is added");
    assert!(id > 999, "{id} could be a founder's");
    through.promote(id).await.expect("it catches up");
    through.remove(old).await.expect("the leader hands over and goes");
    let before = written.load(Ordering::SeqCst);
    eventually("the load goes on", async || written.load(Ordering::SeqCst) > before + 20).await;
    stop.store(true, Ordering::SeqCst);
    for writer in load {
        writer.await.expect("no write failed");
    }
    let expected = 300 + usize::try_from(written.load(Ordering::SeqCst)).expect("few");
    assert_eq!(lines(&joined, Consistency::Linearizable).await.len(), expected, "each exactly once");
    assert_eq!(joined.node_id(), Some(id));
    let voters = roles(&joined);
    assert!(voters.contains(&(id, Role::Voter)) && voters.iter().all(|(id, _)| *id != old), "{voters:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_never_comes_twice_though_the_name_and_the_address_do() {
    let mut nodes = Nodes::in_memory(3);
    nodes.start_all().await;
    let (_, leader) = nodes.leader().await;
    let (member, first) = newcomer(&nodes, "n4", 1000).await;
    let one = leader.add_learner(member.clone()).await.expect("it is added");
    let again = leader.add_learner(member.clone()).await.expect("it is known");
    assert!(again == one || first.node_id() == Some(one), "a repeat adds nobody while it is waited for");
    eventually("it has its place", async || first.node_id() == Some(one)).await;
    leader.remove(one).await.expect("it goes");
    let two = leader.add_learner(member).await.expect("it is added");
    assert!(two > one, "{two} after {one}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_disk_was_emptied_is_refused_under_its_old_number() {
    let mut nodes = Nodes::on_disk(3);
    nodes.start_all().await;
    let (_, leader) = nodes.leader().await;
    write(leader, "line").await.expect("it is written");
    let (lost, _) = nodes.follower().await;
    // Its disk is known only when it has said which it is.
    let settled = async || leader.members().iter().all(|info| info.has_settled());
    eventually("all have said on which disk they are", settled).await;
    nodes.kill(lost);
    let folder = nodes.folder(lost).expect("they are on disk");
    eventually("it lets go of its disk", async || {
        std::fs::remove_dir_all(&folder).is_ok() && !folder.exists()
    })
    .await;
    let refused = Cluster::start_with(nodes.config(lost), Journal::default()).await;
    let error = refused.expect_err("it may have forgotten how it voted");
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.to_string().contains("add_learner"), "{error}");
    // As a new member it is welcome, under its old name.
    let (member, joined) = newcomer(&nodes, &format!("n{lost}"), 1000).await;
    let (_, leader) = nodes.leader().await;
    let id = leader.add_learner(member).await.expect("it is added");
    leader.replace(lost, id).await.expect("it takes the place");
    assert_eq!(lines(&joined, Consistency::Linearizable).await, [Bytes::from("line")]);
    assert!(roles(leader).iter().all(|(id, role)| *id != lost && *role == Role::Voter));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_vote_cannot_lead_and_who_is_no_member_cannot_vote() {
    let mut nodes = Nodes::in_memory(1);
    nodes.start(1).await.wait_for_leadership(PATIENCE).await.expect("it is alone");
    let node = &nodes.running[&1];
    for refused in [
        node.promote(77).await.expect_err("there is no 77"),
        node.transfer_leadership(Some(77)).await.expect_err("there is no 77"),
        node.replace(1, 77).await.expect_err("there is no 77"),
        node.transfer_leadership(None).await.expect_err("there is nobody else"),
        node.add_learner(Member::new("n4", "nowhere")).await.expect_err("that is no address"),
    ] {
        assert_eq!(refused.kind(), ErrorKind::Refused, "{refused}");
    }
    assert!(node.is_leader(), "it goes on");
    write(node, "line").await.expect("it is written");
    tokio::time::timeout(Duration::from_secs(5), node.remove(1))
        .await
        .expect("no hang")
        .expect_err("it is the last");
}
