//! The power of a real file system fails: what was not synced is gone.
use std::{fs::File, path::PathBuf, time::Duration};

use convoke_testing::{Disk, eventually};
use openraft::storage::RaftLogStorage;

use super::{Content, SMALL, content, open_small, segments};
use crate::{
    Durability,
    engine::{
        log::Log,
        storage_tests::entries::{append, entries, id, vote},
    },
};

const HOURS: Duration = Duration::from_secs(3600);

/// A folder for the log on a disk of its own.
fn folder(disk: &Disk) -> PathBuf {
    disk.path().join("log")
}

/// The power fails now: what is in the log when it comes back.
async fn after_power_cut(disk: &Disk, log: Log) -> Content {
    disk.cut();
    drop(log);
    eventually("the log is closed", async || {
        let lock = File::open(folder(disk).join("lock")).expect("it is there");
        lock.try_lock().is_ok()
    })
    .await;
    disk.come_back();
    content(&mut open_small(&folder(disk))).await
}

#[tokio::test]
async fn with_sync_everything_that_was_acknowledged_is_there_after_a_power_cut() {
    let test = "with_sync_everything_that_was_acknowledged_is_there_after_a_power_cut";
    let Some(disk) = Disk::new_or_skip(test) else { return };
    let mut log = open_small(&folder(&disk));
    log.save_vote(&vote(3, 1)).await.unwrap();
    for index in 0..100 {
        append(&mut log, entries(3, index..index + 1, 500)).await.unwrap();
    }
    log.purge(id(3, 49)).await.unwrap();
    append(&mut log, entries(3, 100..101, 500)).await.unwrap();
    assert!(segments(&folder(&disk)).len() > 2, "{:?}", segments(&folder(&disk)));
    let before = content(&mut log).await;
    let after = after_power_cut(&disk, log).await;
    // How far it is purged may be older.
    assert_eq!((after.last, after.vote), (before.last, before.vote));
    assert!(after.entries.ends_with(&before.entries), "{} entries are there", after.entries.len());
}

#[tokio::test]
async fn batched_loses_something_in_a_power_cut_and_less_than_its_threshold() {
    let test = "batched_loses_something_in_a_power_cut_and_less_than_its_threshold";
    let Some(disk) = Disk::new_or_skip(test) else { return };
    let durability = Durability::Batched { threshold: 100, interval: HOURS };
    let mut log = Log::open_with(&folder(&disk), durability, SMALL).unwrap();
    log.save_vote(&vote(3, 1)).await.unwrap();
    // The threshold is met in the middle, and segments end where they do.
    for index in 0..290 {
        append(&mut log, entries(3, index..index + 1, 40)).await.unwrap();
    }
    let unsynced = log.metrics().unsynced;
    let after = after_power_cut(&disk, log).await;
    let kept = after.entries.len() as u64;
    println!("{test}: {kept} of 290 entries are there");
    assert!(kept < 290, "the disk keeps what was never synced: it shows nothing");
    assert!(
        290 - kept < 100 && 290 - kept <= unsynced,
        "{kept} of 290 are there, {unsynced} were not synced"
    );
    assert_eq!(after.entries, entries(3, 0..kept, 40));
    assert_eq!(after.vote, Some(vote(3, 1)));
}

#[tokio::test]
async fn batched_loses_nothing_that_is_older_than_its_interval() {
    let test = "batched_loses_nothing_that_is_older_than_its_interval";
    let Some(disk) = Disk::new_or_skip(test) else { return };
    let durability = Durability::Batched { threshold: u32::MAX, interval: Duration::from_millis(100) };
    let mut log = Log::open_with(&folder(&disk), durability, SMALL).unwrap();
    append(&mut log, entries(3, 0..10, 40)).await.unwrap();
    eventually("the interval is over", async || log.metrics().unsynced == 0).await;
    let after = after_power_cut(&disk, log).await;
    assert_eq!(after.entries, entries(3, 0..10, 40));
}

#[tokio::test]
async fn a_disk_that_fills_up_loses_nothing_that_was_acknowledged() {
    let test = "a_disk_that_fills_up_loses_nothing_that_was_acknowledged";
    let Some(disk) = Disk::of_size_or_skip(test, "24M") else { return };
    let mut log = Log::open(&folder(&disk), Durability::Sync).unwrap();
    let mut acknowledged = 0;
    let error = loop {
        match append(&mut log, entries(1, acknowledged..acknowledged + 1, 100_000)).await {
            Ok(()) => acknowledged += 1,
            Err(error) => break error,
        }
        assert!(acknowledged < 1000, "the disk is larger than it should be");
    };
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull, "{error}");
    assert!(acknowledged > 20, "{acknowledged} entries fitted");
    disk.cut();
    drop(log);
    eventually("the log is closed", async || {
        File::open(folder(&disk).join("lock")).expect("it is there").try_lock().is_ok()
    })
    .await;
    disk.come_back();
    let mut log = Log::open(&folder(&disk), Durability::Sync).unwrap();
    assert_eq!(content(&mut log).await.entries, entries(1, 0..acknowledged, 100_000));
}
