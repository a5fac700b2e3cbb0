//! `convoke outbox`.

use std::time::Duration;

use convoke_core::{Commit, Committed, Hold, Outbox, OutboxStore as _, Record, Row, Settle};
use convoke_redis::{Config, Stores};
use convoke_testing::servers::RedisServer;
use serde_json::Value;
use uuid::Uuid;

use crate::support::{Ran, convoke};

/// Leaves this many waiting, and as many put aside, in the outbox of `orders`.
async fn fill(server: &RedisServer, count: usize) {
    let stores = Stores::connect_with(Config::new(server.url())).await.expect("it connects");
    let outbox = Outbox {
        scope: "convoke:orders".into(),
        relay: Uuid::now_v7(),
        lease: Duration::from_secs(60),
        rows_max: 1000,
        batch_max: 100,
    };
    for near in 0..count {
        let rows = [0, 1].map(|_| Row { id: Uuid::now_v7(), bytes: "of another version".into() });
        let record = Record::Alone { call: Uuid::now_v7(), near: &near.to_string() };
        let commit = Commit { record, rows: &rows, writes: &[] };
        let Committed::Stored(stored) = stores.commit(&outbox, commit).await.expect("it answers") else {
            panic!("it is recorded")
        };
        let taken = stores.take(&outbox, stored.slot).await.expect("it answers");
        let batch = taken.batch.expect("there are rows");
        let place = batch.rows.last().expect("there are rows").0.clone();
        let aside = Settle { place, parked: Some("too large\u{1b}[2J".into()) };
        let hold = Hold { slot: stored.slot, fence: batch.fence };
        stores.settle(&outbox, hold, &[aside]).await.expect("it answers");
    }
}

fn outbox(server: &RedisServer, arguments: &[&str]) -> Ran {
    convoke(&[&["outbox"], arguments, &["--service", "orders", "--redis", &server.url()]].concat())
}

#[tokio::test]
async fn what_was_put_aside_is_listed_and_waits_again() {
    let Some(server) = RedisServer::start_or_skip("outbox").await else { return };
    outbox(&server, &["list"]).ended(0).said(&["0 waiting, 0 put aside"]);
    fill(&server, 7).await;
    let text =
        outbox(&server, &["list"]).ended(0).said(&["7 waiting, 7 put aside", "unreadable", "too large"]);
    assert!(!text.stdout.contains('\u{1b}'), "{text:?}");
    assert!(text.stdout.lines().all(|line| line.chars().count() <= 80), "{}", text.stdout);

    let mut places = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let mut asked = vec!["list", "--limit", "3", "--output", "json"];
        asked.extend(after.iter().flat_map(|after| ["--after", after.as_str()]));
        let page = outbox(&server, &asked).ended(0).json();
        let rows = page["rows"].as_array().expect("a list");
        places.extend(rows.iter().map(|row| row["place"].as_str().expect("text").to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        after = Some(next.to_owned());
    }
    assert_eq!(places.len(), 7);

    let counted = |arguments: &[&str]| -> (Value, Value) {
        let done = outbox(&server, &[&["retry", "--output", "json"], arguments].concat()).ended(0).json();
        (done["wanted"].clone(), done["done"].clone())
    };
    outbox(&server, &["retry"]).ended(2).said(&["--yes", "--dry-run"]);
    assert_eq!(counted(&["--dry-run"]), (7.into(), 0.into()));
    assert_eq!(counted(&[&places[0], &places[1]]), (2.into(), 2.into()));
    assert_eq!(counted(&["--yes"]), (5.into(), 5.into()));
    outbox(&server, &["list", "--waiting"]).ended(0).said(&["14 waiting, 0 put aside"]);
    outbox(&server, &["retry", "nowhere"]).ended(1).said(&["\"nowhere\" is no place"]);
}

#[tokio::test]
async fn without_a_redis_it_is_told_within_five_seconds() {
    let Some(server) = RedisServer::start_or_skip("outbox, away").await else { return };
    convoke(&["outbox", "list", "--service", "orders"]).ended(2).said(&["--redis", "REDIS_URL"]);
    server.kill();
    outbox(&server, &["list"]).ended(1).soon().said(&["does not answer"]);
}
