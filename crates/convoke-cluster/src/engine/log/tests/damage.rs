use std::{fs, io};

use convoke_testing::proptest_cases;
use openraft::storage::RaftLogStorage;
use proptest::prelude::*;
use tempfile::TempDir;

use super::{SMALL, boundaries, content, open, open_small, segments, written};
use crate::{
    Durability,
    engine::{
        log::Log,
        storage_tests::entries::{append, entries, vote},
    },
};

fn refused(folder: &TempDir) -> String {
    let error = Log::open_with(folder.path(), Durability::Sync, SMALL).expect_err("it is damaged");
    assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
    error.to_string()
}

/// A log of several segments, closed.
async fn of_segments() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut log = open_small(folder.path());
    log.save_vote(&vote(1, 1)).await.unwrap();
    for batch in 0..9 {
        append(&mut log, entries(1, batch * 5..batch * 5 + 5, 1000)).await.unwrap();
    }
    assert!(segments(folder.path()).len() >= 4, "{:?}", segments(folder.path()));
    folder
}

#[tokio::test]
async fn damage_to_what_was_acknowledged_names_the_file_the_place_and_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = open(folder.path());
    append(&mut log, entries(1, 0..3, 80)).await.unwrap();
    append(&mut log, entries(1, 3..4, 80)).await.unwrap();
    drop(log);
    let (path, mut bytes, boundaries) = written(folder.path());
    bytes[boundaries[2] + 20] ^= 4;
    fs::write(&path, bytes).unwrap();
    let said = refused(&folder);
    assert!(said.contains(&format!("byte {} of {}", boundaries[2], path.display())), "{said}");
    assert!(said.contains("as a new member"), "{said}");
}

#[tokio::test]
async fn a_segment_that_is_missing_is_noticed() {
    let folder = of_segments().await;
    let all = segments(folder.path());
    let aside = tempfile::tempdir().unwrap();
    let aside = aside.path().join("aside");
    for (missing, says) in [(0, "entries 0 to"), (1, "the segment after it is missing")] {
        fs::rename(&all[missing], &aside).unwrap();
        let said = refused(&folder);
        assert!(said.contains(says), "{said}");
        fs::rename(&aside, &all[missing]).unwrap();
    }
    assert_eq!(content(&mut open_small(folder.path())).await.entries.len(), 45);
}

#[tokio::test]
async fn a_segment_under_the_name_of_another_is_noticed() {
    let folder = of_segments().await;
    let all = segments(folder.path());
    fs::copy(&all[0], &all[1]).unwrap();
    assert!(refused(&folder).contains("its first record is not whole"));
}

#[tokio::test]
async fn a_segment_that_was_begun_when_the_power_failed_is_begun_again() {
    let folder = of_segments().await;
    fs::write(folder.path().join("99.log-draft"), "half of a head").unwrap();
    let mut log = open_small(folder.path());
    assert_eq!(content(&mut log).await.entries.len(), 45);
    assert!(!folder.path().join("99.log-draft").exists());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(proptest_cases(32)))]

    /// A byte that changed in a segment that others follow, or that was lost with all behind it.
    #[test]
    fn damage_to_a_segment_that_others_follow_is_always_noticed(
        segment in 0usize..3,
        at in any::<prop::sample::Index>(),
        bits in 1u8..,
        lost in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let folder = runtime.block_on(of_segments());
        let path = &segments(folder.path())[segment];
        let mut bytes = fs::read(path).unwrap();
        let end = *boundaries(&bytes, segment as u64 + 1).last().unwrap();
        let at = at.index(end);
        if lost { bytes[at..].fill(0) } else { bytes[at] ^= bits }
        fs::write(path, bytes).unwrap();
        let said = refused(&folder);
        assert!(said.contains(path.to_str().unwrap()), "{said}");
    }

    /// In the open segment, everything before the last batch was on the disk when that was written.
    #[test]
    fn damage_before_the_last_batch_is_always_noticed(at in any::<prop::sample::Index>(), bits in 1u8..) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        runtime.block_on(async {
            let mut log = open(folder.path());
            for batch in 0..4 {
                append(&mut log, entries(1, batch * 3..batch * 3 + 3, 120)).await.unwrap();
            }
        });
        let (path, mut bytes, boundaries) = written(folder.path());
        let last_batch = boundaries[1 + 9];
        bytes[at.index(last_batch)] ^= bits;
        fs::write(path, bytes).unwrap();
        refused(&folder);
    }
}
