use std::time::Duration;

use bytes::Bytes;
use convoke_cluster::{Cluster, Consistency, ErrorKind, Member, NodeId, Role};
use convoke_testing::eventually;

use crate::support::{Journal, Nodes, PATIENCE, lines, write};

pub(crate) fn roles(node: &Cluster<Journal>) -> Vec<(NodeId, Role)> {
    node.members().into_iter().map(|info| (info.id, info.role)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_never_comes_twice_though_the_name_and_the_address_do() {
    let mut nodes = Nodes::in_memory(3);
    nodes.start_all().await;
    let (_, leader) = nodes.leader().await;
    let (member, first) = nodes.newcomer("n4").await;
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
    let (member, joined) = nodes.newcomer(&format!("n{lost}")).await;
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
