use std::{io, time::Duration};

use convoke_testing::{EVENTUALLY_WITHIN, eventually};
use openraft::{
    storage::{IOFlushed, RaftLogStorage},
    type_config::TypeConfigExt,
};

use super::{SMALL, content, open};
use crate::{
    Durability,
    engine::{
        log::{
            Log,
            queue::{Command, QUEUE_BYTES_MAX, Queue},
        },
        storage_tests::entries::{append, entries, id, vote},
        types::Types,
    },
};

const HOURS: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn with_sync_nothing_is_acknowledged_before_its_sync() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = open(folder.path());
    for index in 0..20 {
        let before = log.metrics().syncs;
        append(&mut log, entries(1, index..index + 1, 80)).await.unwrap();
        let metrics = log.metrics();
        assert!(metrics.syncs > before, "{metrics:?}");
        assert_eq!((metrics.entries, metrics.unsynced), (index + 1, 0));
    }
}

#[tokio::test]
async fn votes_and_cuts_are_synced_whatever_the_durability() {
    let folder = tempfile::tempdir().unwrap();
    let durability = Durability::Batched { threshold: 1000, interval: HOURS };
    let mut log = Log::open(folder.path(), durability).unwrap();
    append(&mut log, entries(1, 0..5, 80)).await.unwrap();
    assert_eq!((log.metrics().syncs, log.metrics().unsynced), (0, 5));
    log.save_vote(&vote(1, 1)).await.unwrap();
    assert_eq!((log.metrics().syncs, log.metrics().unsynced), (1, 0));
    append(&mut log, entries(1, 5..9, 80)).await.unwrap();
    log.truncate_after(Some(id(1, 6))).await.unwrap();
    assert_eq!((log.metrics().syncs, log.metrics().unsynced), (2, 0));
}

#[tokio::test]
async fn batched_never_owes_the_disk_as_many_entries_as_its_threshold() {
    let folder = tempfile::tempdir().unwrap();
    let durability = Durability::Batched { threshold: 10, interval: HOURS };
    let mut log = Log::open(folder.path(), durability).unwrap();
    let mut owed = 0;
    for index in 0..95 {
        append(&mut log, entries(1, index..index + 1, 80)).await.unwrap();
        let metrics = log.metrics();
        assert!(metrics.unsynced < 10, "{metrics:?}");
        owed = owed.max(metrics.unsynced);
    }
    assert_eq!((owed, log.metrics().syncs, log.metrics().unsynced), (9, 9, 5));
    // More at once than the threshold: synced before it is acknowledged.
    append(&mut log, entries(1, 95..195, 80)).await.unwrap();
    assert_eq!((log.metrics().syncs, log.metrics().unsynced), (10, 0));
}

#[tokio::test]
async fn batched_syncs_after_its_interval_when_nothing_else_comes() {
    let folder = tempfile::tempdir().unwrap();
    let durability = Durability::Batched { threshold: 1000, interval: Duration::from_millis(50) };
    let mut log = Log::open(folder.path(), durability).unwrap();
    append(&mut log, entries(1, 0..5, 80)).await.unwrap();
    eventually("it is synced", async || log.metrics().unsynced == 0 && log.metrics().syncs == 1).await;
}

#[tokio::test]
async fn batched_syncs_after_its_interval_while_entries_keep_coming() {
    let folder = tempfile::tempdir().unwrap();
    let durability = Durability::Batched { threshold: u32::MAX, interval: Duration::from_millis(50) };
    let mut log = Log::open(folder.path(), durability).unwrap();
    let mut next = 0;
    let keep_coming = async {
        while log.metrics().syncs == 0 {
            append(&mut log, entries(1, next..next + 1, 80)).await.unwrap();
            next += 1;
        }
    };
    tokio::time::timeout(EVENTUALLY_WITHIN, keep_coming).await.expect("it is synced after 50 ms");
    assert!(next > 1, "nothing came while it waited");
}

/// A log whose thread does not run yet.
struct Held {
    log: Log,
    run: Box<dyn FnOnce() + Send>,
    _folder: tempfile::TempDir,
}

fn held() -> Held {
    let folder = tempfile::tempdir().unwrap();
    let (queue, commands, failure) = Queue::new();
    let (writer, log) = Log::prepare(folder.path(), Durability::Sync, SMALL, queue, failure).unwrap();
    Held { log, run: Box::new(move || writer.run(&commands)), _folder: folder }
}

#[tokio::test]
async fn what_arrives_together_shares_one_sync() {
    let Held { mut log, run, _folder } = held();
    let mut answers = Vec::new();
    for index in 0..200 {
        let (sender, answer) = Types::oneshot();
        log.append(entries(1, index..index + 1, 80), IOFlushed::signal(sender)).await.unwrap();
        answers.push(answer);
    }
    std::thread::spawn(run);
    for answer in answers {
        answer.await.unwrap().unwrap();
    }
    assert_eq!((log.metrics().syncs, log.metrics().entries), (1, 200));
    assert_eq!(content(&mut log).await.entries, entries(1, 0..200, 80));
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_never_answers_is_an_error_and_not_a_wait_for_ever() {
    let Held { mut log, run: _run, _folder } = held();
    let error = log.save_vote(&vote(1, 1)).await.expect_err("nobody writes");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(content(&mut log).await.vote, None, "what is not on the disk was not voted");
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_the_disk_has_a_limit() {
    let (queue, _commands, _failure) = Queue::new();
    let put = async |bytes| {
        let (sender, _) = Types::oneshot();
        queue.put(Command::Append { entries: Vec::new(), done: IOFlushed::signal(sender) }, bytes).await
    };
    put(QUEUE_BYTES_MAX / 2).await.unwrap();
    put(QUEUE_BYTES_MAX / 4).await.unwrap();
    let error = put(QUEUE_BYTES_MAX / 2).await.expect_err("there is no room");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    put(QUEUE_BYTES_MAX / 8).await.unwrap();
}
