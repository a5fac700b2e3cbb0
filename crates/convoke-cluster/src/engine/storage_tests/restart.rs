use std::path::Path;

use bytes::Bytes;
use convoke_testing::eventually;
use futures_util::stream;
use openraft::{
    RaftSnapshotBuilder, StorageHelper,
    storage::{RaftLogStorage, RaftStateMachine},
};

use super::{
    entries::{append, entries, id, vote},
    machine::{Notes, replica},
};
use crate::{
    Durability,
    engine::{log::Log, replica::Replica, snapshot::Snapshots, types::Types},
    replicated::Shared,
};

/// The storage of a node, closed and opened again.
struct Node {
    log: Log,
    replica: Replica<Notes>,
    state: Shared<Notes>,
}

impl Node {
    fn open(folder: &Path) -> Self {
        let log = Log::open(&folder.join("log"), Durability::Sync).expect("it can be opened");
        let (replica, state) = replica(Snapshots::open(&folder.join("snapshots")).expect("it can be opened"));
        Self { log, replica, state }
    }

    /// What openraft does when it starts.
    async fn start(&mut self) {
        let mut helper = StorageHelper::<Types, _, _>::new(&mut self.log, &mut self.replica).with_id(1);
        helper.get_initial_state().await.expect("it can start");
    }

    async fn write(&mut self, range: std::ops::Range<u64>) {
        let written = entries(1, range.clone(), 100);
        append(&mut self.log, written.clone()).await.expect("there is room");
        let applied = written.into_iter().map(|entry| Ok((entry, None))).collect::<Vec<_>>();
        self.replica.apply(stream::iter(applied)).await.expect("it can be applied");
        self.log.save_committed(Some(id(1, range.end - 1))).await.expect("there is room");
    }

    fn notes(&self) -> Vec<(u64, Bytes)> {
        self.state.read().unwrap().machine().0.clone().into_iter().collect()
    }
}

#[tokio::test]
async fn a_node_that_starts_again_has_what_it_had_applied_from_its_snapshot_and_its_log() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::open(folder.path());
    node.start().await;
    node.log.save_vote(&vote(1, 1)).await.unwrap();
    node.write(0..50).await;
    node.replica.get_snapshot_builder().await.build_snapshot().await.unwrap();
    node.log.purge(id(1, 39)).await.unwrap();
    node.write(50..70).await;
    // Not committed: it is in the log and not in the state.
    append(&mut node.log, entries(1, 70..75, 100)).await.unwrap();
    let before = node.notes();
    assert_eq!(before.len(), 70);
    drop(node);

    let mut node = Node::open(folder.path());
    assert_eq!(node.notes(), []);
    node.start().await;
    assert_eq!(node.notes(), before);
    assert_eq!(node.replica.applied_state().await.unwrap().0, Some(id(1, 69)));
    assert_eq!(node.log.get_log_state().await.unwrap().last_log_id, Some(id(1, 74)));
}

#[cfg(unix)]
#[tokio::test]
async fn a_node_has_its_snapshot_after_a_power_cut_and_can_do_without_what_it_purged() {
    let test = "a_node_has_its_snapshot_after_a_power_cut_and_can_do_without_what_it_purged";
    let Some(disk) = convoke_testing::Disk::new_or_skip(test) else { return };
    let mut node = Node::open(&disk.path());
    node.start().await;
    for batch in 0..5 {
        node.write(batch * 10..batch * 10 + 10).await;
        node.replica.get_snapshot_builder().await.build_snapshot().await.unwrap();
        node.log.purge(id(1, batch * 10 + 9)).await.unwrap();
    }
    // A vote is on the disk when it is answered, and so is what was purged before it.
    node.log.save_vote(&vote(1, 1)).await.unwrap();
    let before = node.notes();
    disk.cut();
    drop(node);
    eventually("the log is closed", async || {
        std::fs::File::open(disk.path().join("log/lock")).expect("it is there").try_lock().is_ok()
    })
    .await;
    disk.come_back();
    let mut node = Node::open(&disk.path());
    node.start().await;
    assert_eq!(node.notes(), before);
    assert_eq!(node.log.get_log_state().await.unwrap().last_purged_log_id, Some(id(1, 49)));
}
