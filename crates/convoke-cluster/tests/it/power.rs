//! The power of all nodes fails at once: what none of their disks has is gone.

use std::time::Duration;

use bytes::Bytes;
use convoke_cluster::{Consistency, Durability};
use convoke_testing::Disk;

use crate::support::{Nodes, lines, write};

/// What was acknowledged before the power failed, and what is there when it is back.
async fn after_power_cut(nodes: &mut Nodes, disk: &Disk, count: u64) -> (Vec<Bytes>, Vec<Bytes>) {
    nodes.start_all().await;
    let mut acknowledged = Vec::new();
    for number in 0..count {
        let line = Bytes::from(format!("line {number}"));
        write(nodes.leader().await.1, line.clone()).await.expect("it is written");
        acknowledged.push(line);
    }
    for node in nodes.running.values() {
        assert_eq!(lines(node, Consistency::Linearizable).await.len() as u64, count);
    }
    disk.cut();
    nodes.running.clear();
    disk.come_back();
    nodes.start_all().await;
    let mut found = Vec::new();
    for node in nodes.running.values() {
        found.push(lines(node, Consistency::Linearizable).await);
    }
    assert!(found.iter().all(|other| *other == found[0]), "the nodes have the same");
    (acknowledged, found.swap_remove(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_syncs_loses_nothing_when_the_power_of_all_nodes_fails() {
    let test = "a_cluster_that_syncs_loses_nothing_when_the_power_of_all_nodes_fails";
    let Some(disk) = Disk::new_or_skip(test) else { return };
    let mut nodes = Nodes::in_folder(3, disk.path());
    // Some of it is in snapshots, and no longer in the log.
    nodes.snapshot_every = 100;
    let (acknowledged, found) = after_power_cut(&mut nodes, &disk, 350).await;
    assert_eq!(found, acknowledged);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_syncs_in_batches_loses_something_and_less_than_a_batch_when_the_power_of_all_nodes_fails()
 {
    let test = "a_cluster_that_syncs_in_batches_loses_something_and_less_than_a_batch_when_the_power_of_all_nodes_fails";
    let Some(disk) = Disk::new_or_skip(test) else { return };
    let mut nodes = Nodes::in_folder(3, disk.path());
    nodes.durability = Durability::Batched { threshold: 100, interval: Duration::from_secs(10) };
    let (acknowledged, found) = after_power_cut(&mut nodes, &disk, 250).await;
    let lost = acknowledged.len() - found.len();
    println!("{test}: {lost} of {} are lost", acknowledged.len());
    assert!(lost > 0, "the disk keeps what was never synced: it shows nothing");
    assert!(lost < 100, "{lost} of {} are lost", acknowledged.len());
    assert_eq!(found, acknowledged[..found.len()]);
}
