use std::{io, os::unix::fs::symlink};

use openraft::storage::RaftLogStorage;

use super::{content, open_small, segments};
use crate::engine::storage_tests::entries::{append, entries, vote};

/// The next segment cannot be written: its file is the device that is always full.
#[tokio::test]
async fn a_full_disk_stops_the_log_says_so_and_acknowledges_nothing_more() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = open_small(folder.path());
    symlink("/dev/full", folder.path().join("2.log-draft")).unwrap();
    let mut acknowledged = 0;
    let error = loop {
        match append(&mut log, entries(1, acknowledged..acknowledged + 1, 1000)).await {
            Ok(()) => acknowledged += 1,
            Err(error) => break error,
        }
        assert!(acknowledged < 100, "the disk was not full");
    };
    assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{error}");
    let said = error.to_string();
    assert!(said.contains(folder.path().to_str().unwrap()) && said.contains("make room"), "{said}");

    // Everything afterwards is the same error, also when there is room again.
    std::fs::remove_file(folder.path().join("2.log-draft")).unwrap();
    assert_eq!(log.save_vote(&vote(9, 9)).await.expect_err("it stopped").to_string(), said);
    let index = log.get_log_state().await.unwrap().last_log_id.unwrap().index;
    assert_eq!(
        append(&mut log, entries(1, index + 1..index + 2, 8)).await.expect_err("it stopped").to_string(),
        said
    );
    assert_eq!(segments(folder.path()).len(), 1);
    drop(log);

    let found = content(&mut open_small(folder.path())).await;
    assert_eq!((found.entries, found.vote), (entries(1, 0..acknowledged, 1000), None));
}

#[tokio::test]
async fn an_entry_that_is_too_large_for_the_log_is_an_error_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = open_small(folder.path());
    let error = append(&mut log, entries(1, 0..1, 17 * 1024 * 1024)).await.expect_err("it is too large");
    assert!(error.to_string().contains("bytes are more than the 16777216"), "{error}");
}
