use std::fs;

use convoke_testing::proptest_cases;
use openraft::storage::RaftLogStorage;
use proptest::prelude::*;
use tempfile::TempDir;

use super::{content, open, written};
use crate::engine::storage_tests::entries::{append, entries, vote};

/// A log of batches, closed: its folder.
async fn of_batches(batches: &[(u64, usize)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut log = open(folder.path());
    log.save_vote(&vote(1, 1)).await.unwrap();
    let mut next = 0;
    for &(count, bytes) in batches {
        append(&mut log, entries(1, next..next + count, bytes)).await.unwrap();
        next += count;
    }
    folder
}

/// How many of its entries a log has, none of them changed.
async fn entries_of(folder: &TempDir, bytes: usize) -> u64 {
    let found = content(&mut open(folder.path())).await;
    let count = found.entries.len() as u64;
    assert_eq!(found.entries, entries(1, 0..count, bytes));
    assert_eq!(found.vote, Some(vote(1, 1)));
    count
}

/// Entries that end before an offset; the first two records are the head and the vote.
fn whole_before(boundaries: &[usize], offset: usize) -> u64 {
    boundaries.iter().skip(3).filter(|&&end| end <= offset).count() as u64
}

#[tokio::test]
async fn whatever_of_the_last_entry_was_written_the_others_are_there_and_the_log_goes_on() {
    let folder = of_batches(&[(2, 40), (1, 40)]).await;
    let (path, bytes, boundaries) = written(folder.path());
    let last = boundaries[boundaries.len() - 2];
    for cut in last..bytes.len() {
        // As it is when the file ends there, and when zeros follow.
        for zeros in [0, 300] {
            let torn = [&bytes[..cut], &vec![0; zeros]].concat();
            fs::write(&path, torn).unwrap();
            assert_eq!(entries_of(&folder, 40).await, 2, "cut at {cut}");
        }
        append(&mut open(folder.path()), entries(1, 2..4, 40)).await.unwrap();
        assert_eq!(entries_of(&folder, 40).await, 4, "cut at {cut}");
    }
}

#[tokio::test]
async fn what_lay_behind_a_torn_entry_does_not_come_back() {
    let folder = of_batches(&[(1, 40), (3, 40)]).await;
    let (path, mut bytes, boundaries) = written(folder.path());
    // The batch of three was under way: its first entry did not reach the disk, the two others did.
    let (from, to) = (boundaries[3], boundaries[4]);
    bytes[from..to].fill(0);
    fs::write(&path, &bytes).unwrap();
    assert_eq!(entries_of(&folder, 40).await, 1);
    // One of the same length takes its place: the two behind it must not be taken for its successors.
    append(&mut open(folder.path()), entries(1, 1..2, 40)).await.unwrap();
    assert_eq!(entries_of(&folder, 40).await, 2);
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(proptest_cases(48)))]

    /// Cut anywhere, with anything behind the cut: the entries that were whole before it are there, and no others.
    #[test]
    fn a_log_that_is_cut_anywhere_has_every_entry_before_the_cut(
        batches in prop::collection::vec(1u64..5, 1..6),
        at in any::<prop::sample::Index>(),
        behind in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        runtime().block_on(async {
            let batches: Vec<_> = batches.into_iter().map(|count| (count, 96)).collect();
            let folder = of_batches(&batches).await;
            let (path, bytes, boundaries) = written(folder.path());
            // The head of a segment is on the disk before the segment has its name; the vote was acknowledged.
            let cut = boundaries[2] + at.index(bytes.len() + 1 - boundaries[2]);
            fs::write(&path, [&bytes[..cut], &behind].concat()).unwrap();
            assert_eq!(entries_of(&folder, 96).await, whole_before(&boundaries, cut));
        });
    }

    /// The last batch was under way, and only some of its sectors reached the disk.
    #[test]
    fn whichever_sectors_of_the_last_batch_reached_the_disk_the_batches_before_it_are_there(
        kept in prop::collection::vec(any::<bool>(), 64),
        count in 2u64..30,
    ) {
        runtime().block_on(async {
            let folder = of_batches(&[(3, 400), (count, 400)]).await;
            let (path, mut bytes, boundaries) = written(folder.path());
            let synced = boundaries[5];
            for (sector, _) in kept.iter().enumerate().filter(|(_, kept)| !**kept) {
                let from = (sector * 512).max(synced).min(bytes.len());
                let to = (sector * 512 + 512).max(synced).min(bytes.len());
                bytes[from..to].fill(0);
            }
            fs::write(&path, &bytes).unwrap();
            assert!(entries_of(&folder, 400).await >= 3);
        });
    }
}
