use convoke_testing::eventually;
use openraft::{RaftLogReader, storage::RaftLogStorage};

use super::{content, open, open_small, segments};
use crate::Durability;
use crate::engine::{
    log::Log,
    storage_tests::entries::{append, entries, id, vote},
};

#[tokio::test]
async fn what_was_appended_voted_and_committed_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = open(folder.path());
    log.save_vote(&vote(3, 1)).await.unwrap();
    append(&mut log, entries(3, 0..100, 400)).await.unwrap();
    log.save_committed(Some(id(3, 90))).await.unwrap();
    log.save_vote(&vote(4, 2)).await.unwrap();
    let before = content(&mut log).await;
    assert_eq!(
        (before.entries.len(), before.vote, before.committed),
        (100, Some(vote(4, 2)), Some(id(3, 90)))
    );
    drop(log);
    assert_eq!(content(&mut open(folder.path())).await, before);
}

#[tokio::test]
async fn what_was_cut_off_or_purged_is_gone_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = open(folder.path());
    append(&mut log, entries(1, 0..50, 80)).await.unwrap();
    log.truncate_after(Some(id(1, 29))).await.unwrap();
    append(&mut log, entries(2, 30..40, 80)).await.unwrap();
    log.purge(id(1, 9)).await.unwrap();
    log.save_vote(&vote(2, 1)).await.unwrap();
    let before = content(&mut log).await;
    let expected: Vec<_> = [entries(1, 10..30, 80), entries(2, 30..40, 80)].concat();
    assert_eq!((&before.entries, before.purged), (&expected, Some(id(1, 9))));
    drop(log);
    assert_eq!(content(&mut open(folder.path())).await, before);
}

#[tokio::test]
async fn a_purge_removes_whole_segments_and_what_they_said_beside_entries_stays() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = open_small(folder.path());
    log.save_vote(&vote(7, 1)).await.unwrap();
    log.save_committed(Some(id(1, 0))).await.unwrap();
    for batch in 0..20 {
        append(&mut log, entries(7, batch * 5..batch * 5 + 5, 1000)).await.unwrap();
    }
    let all = segments(folder.path()).len();
    assert!(all >= 9, "{all} segments");
    log.purge(id(7, 69)).await.unwrap();
    eventually("the purged segments are removed", async || segments(folder.path()).len() <= all - 6).await;
    let counted = async || log.metrics().segments == segments(folder.path()).len() as u64;
    eventually("they are counted out", counted).await;
    let before = content(&mut log).await;
    assert_eq!((before.entries.len(), before.purged), (30, Some(id(7, 69))));
    drop(log);
    let mut log = open_small(folder.path());
    assert_eq!(content(&mut log).await, before);
    append(&mut log, entries(7, 100..110, 1000)).await.unwrap();
    log.purge(id(7, 109)).await.unwrap();
    eventually("only the open segment is left", async || segments(folder.path()).len() == 1).await;
    drop(log);
    let after = content(&mut open_small(folder.path())).await;
    assert_eq!((after.last, after.vote, after.entries.len()), (Some(id(7, 109)), Some(vote(7, 1)), 0));
}

#[tokio::test]
async fn a_purge_beyond_the_end_is_where_the_log_goes_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = open(folder.path());
    append(&mut log, entries(1, 0..10, 80)).await.unwrap();
    log.purge(id(5, 999)).await.unwrap();
    append(&mut log, entries(5, 1000..1010, 80)).await.unwrap();
    let before = content(&mut log).await;
    drop(log);
    let after = content(&mut open(folder.path())).await;
    assert_eq!(after, before);
    assert_eq!((after.purged, after.last), (Some(id(5, 999)), Some(id(5, 1009))));
}

#[tokio::test]
async fn entries_that_left_the_memory_are_read_from_disk() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = open_small(folder.path());
    let given = entries(1, 0..200, 1000);
    for batch in given.chunks(5) {
        append(&mut log, batch.to_vec()).await.unwrap();
    }
    for _ in 0..2 {
        assert!(log.index().cached_bytes() <= super::SMALL.cache_bytes_max, "{}", log.index().cached_bytes());
        assert_eq!(log.try_get_log_entries(..).await.unwrap(), given);
        assert_eq!(log.try_get_log_entries(17..=18).await.unwrap(), given[17..19]);
        drop(log);
        log = open_small(folder.path());
    }
    log.truncate_after(Some(id(1, 99))).await.unwrap();
    let again = entries(2, 100..120, 1000);
    append(&mut log, again.clone()).await.unwrap();
    assert_eq!(log.try_get_log_entries(90..).await.unwrap(), [&given[90..100], &again].concat());
    assert!(log.index().cached_bytes() <= super::SMALL.cache_bytes_max, "{}", log.index().cached_bytes());
}

#[tokio::test]
async fn another_member_is_given_no_more_than_fits_and_at_least_one_entry() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = open(folder.path());
    append(&mut log, entries(1, 0..5, 400_000)).await.unwrap();
    append(&mut log, entries(1, 5..6, 3_000_000)).await.unwrap();
    assert_eq!(log.limited_get_log_entries(0, 6).await.unwrap().len(), 2);
    assert_eq!(log.limited_get_log_entries(5, 6).await.unwrap().len(), 1);
    assert_eq!(log.try_get_log_entries(0..6).await.unwrap().len(), 6);
}

#[tokio::test]
async fn a_log_that_is_in_use_is_refused_and_can_be_opened_when_it_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    let error = Log::open(folder.path(), Durability::Sync).expect_err("it is in use");
    assert_eq!(error.kind(), std::io::ErrorKind::ResourceBusy);
    assert!(error.to_string().contains("another process uses this log"), "{error}");
    drop(log);
    open(folder.path());
}

#[tokio::test]
async fn a_log_in_memory_is_the_same_for_each_of_its_handles() {
    let mut log = Log::in_memory();
    append(&mut log.clone(), entries(1, 0..3, 80)).await.unwrap();
    log.clone().save_vote(&vote(1, 1)).await.unwrap();
    let found = content(&mut log).await;
    assert_eq!((found.entries.len(), found.vote), (3, Some(vote(1, 1))));
}

#[tokio::test]
async fn a_log_that_syncs_in_batches_does_not_say_after_a_restart_what_others_may_have_lost() {
    let folder = tempfile::tempdir().unwrap();
    let durability = Durability::Batched { threshold: 10, interval: std::time::Duration::from_secs(1) };
    let mut log = Log::open(folder.path(), durability).unwrap();
    append(&mut log, entries(1, 0..10, 40)).await.unwrap();
    log.save_committed(Some(id(1, 9))).await.unwrap();
    drop(log);
    let found = content(&mut Log::open(folder.path(), durability).unwrap()).await;
    assert_eq!((found.entries.len(), found.committed), (10, None));
}

#[cfg(unix)]
#[tokio::test]
async fn what_is_kept_is_for_nobody_else_to_read() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let deep = folder.path().join("of/this/node");
    open(&deep);
    for created in [folder.path().join("of"), deep] {
        let mode = created.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{mode:o}");
    }
}
