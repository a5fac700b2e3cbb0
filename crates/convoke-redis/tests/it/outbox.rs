//! What is particular to the outbox in Redis: lost answers, other types, and what people see of it.

use std::time::Duration;

use convoke_core::{
    Beside, Commit as Recording, Committed, Hold, Outbox, OutboxStore, Record, Row, Settle, StoreErrorKind,
    Stored, Turn, Writes,
};
use convoke_redis::{Commit, Config, Slot, Stores, redis};
use convoke_testing::eventually;
use convoke_testing::servers::RedisServer;
use uuid::Uuid;

use crate::support::{LONG, connect, done, key, own, proxied};

fn outbox() -> Outbox {
    Outbox { scope: "convoke:it".into(), relay: Uuid::now_v7(), lease: LONG, rows_max: 1000, batch_max: 100 }
}

fn rows(count: usize) -> Vec<Row> {
    (0..count).map(|at| Row { id: Uuid::now_v7(), bytes: at.to_string().into() }).collect()
}

async fn append(stores: &Stores, outbox: &Outbox, near: &str, rows: &[Row]) -> Stored {
    let record = Record::Alone { call: Uuid::now_v7(), near };
    match stores.commit(outbox, Recording { record, rows, writes: &[] }).await.expect("the store answers") {
        Committed::Stored(stored) => stored,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_commit_that_lost_its_answer_records_its_rows_once() {
    let test = "a_commit_that_lost_its_answer_records_its_rows_once";
    let Some(server) = RedisServer::start_or_skip(test).await else { return };
    let (proxy, url) = proxied(&server).await;
    let hasty = Duration::from_millis(300);
    let stores = connect(Config::new(url).command_timeout(hasty).attempt_timeout(hasty / 3)).await;
    let (outbox, rows, claimed, outcome) = (outbox(), rows(2), key("k"), done());
    append(&stores, &outbox, "teaches the script", &[]).await;
    let holder = own(&stores, &claimed, LONG).await;
    let records = [
        Record::Claim { key: &claimed, holder, outcome: &outcome, retention: LONG },
        Record::Alone { call: Uuid::now_v7(), near: "x" },
    ];
    for record in records {
        let commit = Recording { record, rows: &rows, writes: &[] };
        proxy.drop_replies();
        let error = stores.commit(&outbox, commit).await.expect_err("its answer was dropped");
        assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error}");
        proxy.heal();
        let again = async || stores.commit(&outbox, commit).await;
        eventually("redis is back", again).await;
        let Committed::Stored(stored) = again().await.expect("the store answers") else {
            panic!("{record:?}")
        };
        assert_eq!((stored.waiting, stored.turn), (2, Turn::Take));
    }
}

#[tokio::test]
async fn what_was_put_aside_is_listed_in_pages_and_can_wait_again() {
    let test = "what_was_put_aside_is_listed_in_pages_and_can_wait_again";
    let Some(server) = RedisServer::start_or_skip(test).await else { return };
    let stores = connect(Config::new(server.url())).await;
    let (outbox, admin) = (outbox(), stores.outbox("convoke", "it"));
    for near in 0..7 {
        let rows = rows(2);
        let stored = append(&stores, &outbox, &near.to_string(), &rows).await;
        let taken = stores.take(&outbox, stored.slot).await.expect("the store answers");
        let batch = taken.batch.expect("there are rows");
        let (place, _) = batch.rows.last().expect("there are rows");
        let aside = Settle { place: place.clone(), parked: Some("too \u{1f4e6} large".into()) };
        let hold = Hold { slot: stored.slot, fence: batch.fence };
        stores.settle(&outbox, hold, &[aside]).await.expect("the store answers");
    }
    assert_eq!(admin.count().await.expect("the store answers"), (7, 7));
    let (mut after, mut places) = (None, Vec::new());
    loop {
        let page = admin.parked(after.as_deref(), 3).await.expect("the store answers");
        assert!(
            page.rows.iter().all(|row| row.problem.as_deref() == Some("too \u{1f4e6} large")),
            "{page:?}"
        );
        places.extend(page.rows.into_iter().map(|row| row.place));
        let Some(next) = page.next else { break };
        after = Some(next);
    }
    assert_eq!(places.len(), 7);
    for place in &places {
        assert!(admin.retry(place).await.expect("the store answers"), "{place}");
        assert!(!admin.retry(place).await.expect("the store answers"), "{place} was there twice");
    }
    assert_eq!(admin.count().await.expect("the store answers"), (14, 0));
    let waiting = admin.waiting(None, 1000).await.expect("the store answers");
    assert!(waiting.rows.iter().all(|row| row.problem.is_none()) && waiting.next.is_none());
    for wrong in ["", "1", "x:1-1", "1:", "1:*"] {
        let error = admin.retry(wrong).await.expect_err("it is no place");
        assert_eq!(error.kind(), StoreErrorKind::Refused, "{wrong:?}: {error}");
    }
}

#[tokio::test]
async fn each_kind_of_write_is_made_and_each_condition_asked() {
    let test = "each_kind_of_write_is_made_and_each_condition_asked";
    let Some(server) = RedisServer::builder().cluster().start_or_skip(test).await else { return };
    let stores = connect(Config::new(server.url()).cluster()).await;
    let (outbox, slot) = (outbox(), Slot::new(9));
    let name = |name: &str| format!("app:{}:{name}", slot.tag());
    let (text, hash, sorted, set) = (name("text"), name("hash"), name("sorted"), name("set"));
    let commit = async |commit: Commit| {
        let writes = [Writes::new(commit)];
        OutboxStore::check(&stores, &writes[0], Beside::Text("anything")).expect("they are fine");
        let record = Record::Alone { call: Uuid::now_v7(), near: "anything" };
        stores.commit(&outbox, Recording { record, rows: &rows(1), writes: &writes }).await
    };
    let made = commit(
        Commit::new()
            .if_absent(&text)
            .set(&text, "a")
            .expire(&text, LONG)
            .hash_set(&hash, &[("x", b"1"), ("y", b"\xff")])
            .sorted_add(&sorted, 1.5, "m")
            .set_add(&set, "m"),
    );
    let Committed::Stored(stored) = made.await.expect("the store answers") else {
        panic!("it should be made")
    };
    assert_eq!(stored.slot, slot.number(), "rows lie beside the writes");
    for overtaken in [
        Commit::new().if_absent(&text).set(&text, "b"),
        Commit::new().if_present(&name("none")).set(&text, "b"),
        Commit::new().if_value(&text, "b").set(&text, "b"),
        Commit::new().if_field(&hash, "x", "2").set(&text, "b"),
        Commit::new().if_field(&text, "x", "1").set(&text, "b"), // no hash at all
    ] {
        assert_eq!(
            commit(overtaken.clone()).await.expect("the store answers"),
            Committed::Overtaken,
            "{overtaken:?}"
        );
    }
    let refused = commit(Commit::new().set(&text, "b").sorted_add(&hash, 1.0, "m")).await;
    assert_eq!(refused.expect_err("another type").kind(), StoreErrorKind::Refused);
    let ask = async |command: &str, key: &str| -> Option<String> {
        stores.connection().query(redis::cmd(command).arg(key)).await.expect("redis answers")
    };
    assert_eq!(ask("GET", &text).await.as_deref(), Some("a"), "none of them was made");
    let undone = commit(
        Commit::new()
            .if_present(&text)
            .if_value(&text, "a")
            .if_field(&hash, "y", b"\xff")
            .delete(&text)
            .hash_remove(&hash, &["x", "y"])
            .sorted_remove(&sorted, "m")
            .set_remove(&set, "m"),
    );
    assert!(
        matches!(undone.await.expect("the store answers"), Committed::Stored(stored) if stored.waiting == 2)
    );
    for key in [&text, &hash, &sorted, &set] {
        let there: u64 =
            stores.connection().query(redis::cmd("EXISTS").arg(key)).await.expect("redis answers");
        assert_eq!(there, 0, "{key}");
    }
}
