use convoke_cluster::{Consistency, Standing, Timing};
use convoke_testing::eventually;

use crate::support::{Nodes, lines, write};

#[tokio::test(flavor = "multi_thread")]
async fn a_node_counts_what_it_keeps_and_the_leader_how_far_others_are() {
    let mut nodes = Nodes::on_disk(3);
    nodes.snapshot_every = 50;
    // The leader has to stay, however busy the machine is.
    nodes.timing = Timing::WAN;
    nodes.start_all().await;
    let (id, leader) = nodes.leader().await;
    for number in 0..200 {
        write(leader, format!("line {number}")).await.expect("it is written");
    }
    let metrics = leader.metrics();
    assert_eq!((metrics.standing, metrics.node_id, metrics.leader), (Standing::Leader, Some(id), Some(id)));
    assert!(
        metrics.applied >= 200 && metrics.committed >= metrics.applied && metrics.last >= metrics.committed
    );
    assert!(metrics.syncs > 0 && metrics.sync_p99 >= metrics.sync_p50, "{metrics:?}");
    assert!(metrics.entries_written >= 200 && metrics.leader_changes >= 1);
    assert_eq!(metrics.entries_unsynced, 0, "it acknowledges nothing before");
    assert_eq!(metrics.followers.len(), 2);
    eventually("nobody is behind", async || leader.metrics().followers.iter().all(|other| other.lag == 0))
        .await;
    eventually("a snapshot is made", async || leader.metrics().snapshots_built > 0).await;
    let (_, follower) = nodes.follower().await;
    lines(follower, Consistency::Linearizable).await;
    let metrics = follower.metrics();
    assert_eq!((metrics.standing, metrics.leader), (Standing::Follower, Some(id)));
    assert!(metrics.followers.is_empty());
}
