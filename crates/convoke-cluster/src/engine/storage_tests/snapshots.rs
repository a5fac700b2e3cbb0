use std::{fs, path::Path};

use bytes::Bytes;
use futures_util::stream;
use openraft::{RaftSnapshotBuilder, storage::RaftStateMachine};
use proptest::prelude::*;

use super::{
    entries::{Entry, entry},
    machine::{Notes, PANIC, replica},
};
use crate::engine::{
    replica::Replica,
    snapshot::{Meta, SnapshotFile, Snapshots, create_folder},
};

async fn apply(replica: &mut Replica<Notes>, entries: impl IntoIterator<Item = Entry>) {
    let entries: Vec<_> = entries.into_iter().map(|entry| Ok((entry, None))).collect();
    replica.apply(stream::iter(entries)).await.expect("it can be applied");
}

/// Enough for several chunks.
fn notes(range: std::ops::Range<u64>) -> impl Iterator<Item = Entry> {
    range.map(|index| entry(1, index, &vec![u8::try_from(index % 251).unwrap(); 9_000]))
}

async fn build(replica: &mut Replica<Notes>) -> (Meta, SnapshotFile) {
    let snapshot = replica.get_snapshot_builder().await.build_snapshot().await.expect("it can be built");
    (snapshot.meta, snapshot.snapshot)
}

async fn all_of(snapshot: SnapshotFile) -> Vec<Bytes> {
    let mut chunks = snapshot.chunks();
    let mut all = Vec::new();
    while let Some(chunk) = chunks.next().await.expect("it can be read") {
        all.push(chunk);
    }
    all
}

async fn receive(to: &Snapshots, chunks: &[Bytes]) -> std::io::Result<SnapshotFile> {
    let mut receiving = to.receive().await.expect("there is room");
    for chunk in chunks {
        receiving.write(chunk.clone()).await.expect("there is room");
    }
    receiving.finish().await
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .expect("it is there")
        .map(|entry| entry.expect("it can be read").file_name().into_string().expect("our own names"))
        .collect();
    names.sort();
    names
}

async fn travels(from: Snapshots, to: Snapshots) {
    let (mut sender, sent) = replica(from);
    apply(&mut sender, notes(1..101)).await;
    let (meta, snapshot) = build(&mut sender).await;
    let bytes = snapshot.bytes();
    let chunks = all_of(snapshot).await;
    assert!(chunks.len() > 3, "{} chunks", chunks.len());
    assert_eq!(bytes, chunks.iter().map(|chunk| chunk.len() as u64).sum::<u64>());

    let received = receive(&to, &chunks).await.expect("it is whole");
    let (mut receiver, state) = replica(to.clone());
    receiver.install_snapshot(&meta, received).await.expect("it is whole");
    assert_eq!(state.read().unwrap().machine(), sent.read().unwrap().machine());
    assert_eq!(receiver.applied_state().await.unwrap().0, meta.last_log_id);
    assert_eq!(to.current_meta(), Some(meta));
}

#[tokio::test]
async fn a_snapshot_travels_in_chunks_from_disk_to_disk() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    travels(Snapshots::open(from.path()).unwrap(), Snapshots::open(to.path()).unwrap()).await;
    assert_eq!(files(to.path()), files(from.path()));
}

#[tokio::test]
async fn a_snapshot_travels_in_chunks_from_memory_to_memory() {
    travels(Snapshots::in_memory(), Snapshots::in_memory()).await;
}

#[tokio::test]
async fn a_snapshot_is_there_after_a_restart_and_an_older_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let (mut first, state) = replica(Snapshots::open(folder.path()).unwrap());
    apply(&mut first, notes(1..11)).await;
    build(&mut first).await;
    apply(&mut first, notes(11..21)).await;
    let (meta, _) = build(&mut first).await;
    assert_eq!(files(folder.path()).len(), 1, "{:?}", files(folder.path()));
    fs::write(folder.path().join("7.snapshot-draft"), "half of a snapshot").unwrap();

    let snapshots = Snapshots::open(folder.path()).unwrap();
    assert_eq!(files(folder.path()).len(), 1, "{:?}", files(folder.path()));
    let (mut second, restored) = replica(snapshots);
    let current = second.get_current_snapshot().await.unwrap().expect("it was kept");
    assert_eq!(current.meta, meta);
    second.install_snapshot(&current.meta, current.snapshot).await.unwrap();
    assert_eq!(restored.read().unwrap().machine(), state.read().unwrap().machine());
}

#[tokio::test]
async fn a_snapshot_that_is_replaced_while_it_is_sent_is_sent_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let (mut replica, _) = replica(Snapshots::open(folder.path()).unwrap());
    apply(&mut replica, notes(1..101)).await;
    let (_, old) = build(&mut replica).await;
    let bytes = old.bytes();
    let mut chunks = old.chunks();
    let mut sent = chunks.next().await.unwrap().expect("it has several").len();
    apply(&mut replica, notes(101..102)).await;
    build(&mut replica).await;
    while let Some(chunk) = chunks.next().await.unwrap() {
        sent += chunk.len();
    }
    assert_eq!(sent as u64, bytes);
}

#[tokio::test]
async fn a_snapshot_that_took_long_does_not_replace_one_that_reaches_further() {
    let folder = tempfile::tempdir().unwrap();
    let snapshots = Snapshots::open(folder.path()).unwrap();
    let (mut replica, _) = replica(snapshots.clone());
    apply(&mut replica, notes(1..3)).await;
    let mut slow = replica.get_snapshot_builder().await;
    apply(&mut replica, notes(3..5)).await;
    let (newer, _) = build(&mut replica).await;
    let older = slow.build_snapshot().await.unwrap();
    assert!(older.meta.last_log_id < newer.last_log_id);
    assert_eq!(snapshots.current_meta(), Some(newer));
    drop(older);
    assert_eq!(files(folder.path()).len(), 1, "{:?}", files(folder.path()));
}

#[tokio::test]
async fn a_snapshot_for_which_the_disk_has_no_room_says_so_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let snapshots = Snapshots::open(folder.path()).unwrap();
    let (mut replica, _) = replica(snapshots.clone());
    apply(&mut replica, notes(1..3)).await;
    let (meta, _) = build(&mut replica).await;
    let before = files(folder.path());
    let full = snapshots.write(&meta, |_| Err(std::io::ErrorKind::StorageFull.into()));
    let error = full.expect_err("the disk is full");
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull, "{error}");
    let said = error.to_string();
    assert!(said.contains(folder.path().to_str().unwrap()) && said.contains("make room"), "{said}");
    assert_eq!(files(folder.path()), before);
}

#[tokio::test]
async fn a_damaged_snapshot_refuses_the_start_and_names_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let (mut replica, _) = replica(Snapshots::open(folder.path()).unwrap());
    apply(&mut replica, notes(1..3)).await;
    build(&mut replica).await;
    let path = folder.path().join(&files(folder.path())[0]);
    let mut bytes = fs::read(&path).unwrap();
    bytes[20] ^= 1;
    fs::write(&path, bytes).unwrap();
    let error = Snapshots::open(folder.path()).expect_err("it is damaged").to_string();
    assert!(error.contains(path.to_str().unwrap()) && error.contains("damaged at byte 8"), "{error}");
    assert!(error.contains("join again"), "{error}");
}

#[tokio::test]
async fn a_newer_format_is_named_and_not_read() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("1-1.snapshot"), b"CVKSNAP\x02").unwrap();
    let error = Snapshots::open(folder.path()).expect_err("it is newer").to_string();
    assert!(error.contains("version 2, known is 1"), "{error}");
}

#[tokio::test]
async fn a_state_machine_that_panics_stops_the_node_and_names_the_entry() {
    let (mut replica, _) = replica(Snapshots::in_memory());
    let entries = [entry(1, 1, b"fine"), entry(1, 2, PANIC)].map(|entry| Ok((entry, None)));
    let error = replica.apply(stream::iter(entries)).await.expect_err("it panics").to_string();
    assert!(error.contains("entry 2"), "{error}");
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_snapshot_that_is_cut_or_changed_anywhere_is_refused_and_leaves_nothing(at in any::<prop::sample::Index>(), cut in any::<bool>()) {
        runtime().block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let (mut sender, _) = replica(Snapshots::in_memory());
            apply(&mut sender, notes(1..11)).await;
            let (_, snapshot) = build(&mut sender).await;
            let mut bytes = all_of(snapshot).await.concat();
            let at = at.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] ^= 0x10 }
            let to = Snapshots::open(folder.path()).unwrap();
            let error = receive(&to, &[bytes.into()]).await.expect_err("it is not whole");
            assert_eq!(error.kind(), std::io::ErrorKind::InvalidData, "{error}");
            assert_eq!(files(folder.path()), Vec::<String>::new());
        });
    }
}

#[test]
fn nodes_that_start_at_once_make_their_common_folder_together() {
    let place = tempfile::tempdir().expect("a folder");
    for round in 0..100 {
        let common = place.path().join(round.to_string());
        let together = std::sync::Barrier::new(4);
        std::thread::scope(|threads| {
            for node in 0..4 {
                let (folder, together) = (common.join("data").join(node.to_string()), &together);
                threads.spawn(move || {
                    together.wait();
                    create_folder(&folder).expect("it is made");
                });
            }
        });
    }
}
