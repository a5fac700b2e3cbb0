//! `convoke dead`.

use std::{
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, SystemTime},
};

use convoke_core::{Audience, Codec, DeadLetter, Envelope, Incoming, NodeIdentity, Payload, Transport as _};
use convoke_nats::Transport;
use convoke_testing::{eventually, servers::NatsServer};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use crate::support::{Ran, convoke};

struct World {
    nats: NatsServer,
    node: Transport,
}

impl World {
    async fn start(test: &str) -> Option<Self> {
        let nats = NatsServer::start_or_skip(test).await?;
        let node = Transport::connect(nats.url()).await.expect("a good address");
        let identity =
            NodeIdentity { namespace: "convoke".into(), service: "orders".into(), node: "n1".into() };
        node.open(&identity).await.expect("it opens");
        Some(Self { nats, node })
    }

    /// Buries letters of this handler, with numbers in their content.
    async fn bury(&self, handler: &str, contents: std::ops::Range<u32>) {
        for content in contents {
            let bytes = serde_json::to_vec(&json!({ "order": content })).expect("JSON").into();
            let message = Incoming {
                name: Arc::from("orders.placed.v1"),
                payload: Payload::Bytes { codec: Codec::Json, bytes },
                envelope: Envelope::with_id(Uuid::now_v7()),
                received: Instant::now(),
                position: None,
            };
            let errors = vec!["the printer is\u{1b}[2J on fire".to_owned(), "no water".to_owned()];
            let letter = DeadLetter {
                message,
                handler: handler.to_owned(),
                node: "n1".to_owned(),
                audience: Audience::Node,
                errors,
                attempts: 5,
                replays: 0,
                holds: false,
            };
            self.node.bury(letter, Instant::now() + Duration::from_secs(5)).await.expect("it is kept");
        }
    }

    /// Letters that lie there, and replays on their way.
    async fn lying(&self) -> (u64, u64) {
        let mut counts = [0, 0];
        for (count, stream) in counts.iter_mut().zip(["CONVOKE_DEAD", "CONVOKE_REPLAY"]) {
            let stream = self.node.jetstream().get_stream(stream).await.expect("it was declared");
            *count = stream.cached_info().state.messages;
        }
        (counts[0], counts[1])
    }

    fn convoke(&self, arguments: &[&str]) -> Ran {
        convoke(&[&["dead"], arguments, &["--nats", &self.nats.url()]].concat())
    }
    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        self.convoke(&[arguments, &["--output", "json"]].concat()).ended(0).json()
    }
}

#[tokio::test]
async fn letters_are_listed_in_pages_and_shown_whole() {
    let Some(world) = World::start("dead list").await else { return };
    world.convoke(&["list"]).ended(0).said(&["no dead letters"]);
    world.bury("Mailer::tell", 0..3).await;
    world.bury("Printer::print", 3..5).await;

    let text = world.convoke(&["list"]).ended(0);
    let text = text.said(&[
        "Mailer::tell of orders on n1",
        "5 attempts: the printer is\u{fffd}[2J",
        "5 dead letters",
    ]);
    assert!(!text.stdout.contains('\u{1b}'), "{text:?}");
    assert!(text.stdout.lines().all(|line| line.chars().count() <= 80), "{}", text.stdout);
    let first = world.json(&["list", "--limit", "2"]);
    assert_eq!((first["letters"].as_array().map(Vec::len), &first["next"]), (Some(2), &2.into()));
    let second = world.json(&["list", "--limit", "3", "--after", "2"]);
    assert_eq!((second["letters"].as_array().map(Vec::len), &second["next"]), (Some(3), &Value::Null));
    world.convoke(&["list", "--limit", "2"]).ended(0).said(&["more: add --after 2"]);

    let found =
        |flags: &[&str]| world.json(&[&["list"], flags].concat())["letters"].as_array().map_or(0, Vec::len);
    assert_eq!(found(&["--handler", "Printer::print"]), 2);
    assert_eq!(found(&["--service", "billing"]), 0);
    assert_eq!(found(&["--name", "orders.placed.v1", "--node", "n1"]), 5);
    assert_eq!((found(&["--older-than", "1h"]), found(&["--younger-than", "1h"])), (0, 5));

    let letter = world.json(&["show", "4"]);
    assert_eq!((&letter["payload"]["order"], &letter["target"]), (&3.into(), &"node.n1".into()));
    assert_eq!(letter["errors"][1], "no water");
    world.convoke(&["show", "4"]).ended(0).said(&["because", "no water", "\"order\": 3"]);
    world.convoke(&["show", "99"]).ended(1).said(&["no dead letter 99"]);
}

#[tokio::test]
async fn letters_are_replayed_and_dropped_by_number_and_by_filter() {
    let Some(world) = World::start("dead replay").await else { return };
    world.bury("Mailer::tell", 0..3).await;
    world.bury("Printer::print", 3..6).await;
    for command in ["replay", "drop"] {
        world.convoke(&[command]).ended(2).said(&["--yes", "--dry-run"]);
        world.convoke(&[command, "1", "--node", "n1"]).ended(2).said(&["not both"]);
        let dry = world.json(&[command, "--handler", "Printer::print", "--dry-run"]);
        assert_eq!((&dry["wanted"], &dry["done"], &dry["dry_run"]), (&3.into(), &0.into(), &true.into()));
    }
    assert_eq!(world.lying().await, (6, 0), "nothing was done so far");
    let replayed = world.json(&["replay", "--handler", "Printer::print"]);
    assert_eq!((&replayed["wanted"], &replayed["done"]), (&3.into(), &3.into()));
    assert_eq!(world.lying().await, (3, 3));
    let dropped = world.json(&["drop", "1", "99"]);
    assert_eq!((&dropped["done"], &dropped["gone"]), (&1.into(), &1.into()));
    world.convoke(&["drop", "--yes"]).ended(0).said(&["2 of 2 dropped"]);
    assert_eq!(world.lying().await, (0, 3));
}

#[tokio::test]
async fn many_letters_go_at_the_rate_that_was_asked_for_and_stop_between_two_of_them() {
    let Some(world) = World::start("dead rate").await else { return };
    world.bury("Mailer::tell", 0..20).await;
    let ran = world.convoke(&["replay", "--rate", "20", "--yes"]).ended(0).said(&["20 of 20 replayed"]);
    assert!(ran.took >= Duration::from_millis(900), "{ran:?}");

    world.bury("Mailer::tell", 20..220).await;
    let mut slow = Command::new(env!("CARGO_BIN_EXE_convoke"));
    slow.args(["dead", "replay", "--rate", "50", "--yes", "--output", "json", "--nats", &world.nats.url()]);
    let child = slow.stdout(Stdio::piped()).spawn().expect("it runs");
    eventually("some are replayed", || async {
        let lying = world.lying().await;
        if lying.1 > 25 { Ok(()) } else { Err(lying) }
    })
    .await;
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::INT).expect("it runs still");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    let done: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let (dead, replays) = world.lying().await;
    assert_eq!((done["done"].as_u64(), &done["interrupted"]), (Some(200 - dead), &true.into()), "{done}");
    assert!(dead > 0 && replays == 220 - dead, "{dead} {replays}: each lies in one place");
}

#[tokio::test]
async fn what_dies_again_meanwhile_is_not_replayed_again() {
    let Some(world) = World::start("dead again").await else { return };
    world.bury("Mailer::tell", 0..120).await;
    let began = SystemTime::now();
    let asked = ["dead", "replay", "--rate", "100", "--yes", "--output", "json", "--nats", &world.nats.url()];
    let mut command = Command::new(env!("CARGO_BIN_EXE_convoke"));
    let child = command.args(asked).stdout(Stdio::piped()).spawn().expect("it runs");
    eventually("it has begun", || async {
        let lying = world.lying().await;
        if lying.1 > 0 { Ok(()) } else { Err(lying) }
    })
    .await;
    world.bury("Mailer::tell", 120..125).await;
    let output = child.wait_with_output().expect("it ends");
    let done: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        (&done["wanted"], &done["done"]),
        (&120.into(), &120.into()),
        "{done} after {:?}",
        began.elapsed()
    );
    assert_eq!(world.lying().await, (5, 120));
}

#[test]
fn without_a_server_it_is_told_within_five_seconds() {
    let ran = convoke(&["dead", "list", "--nats", "nats://127.0.0.1:1", "--output", "json"]).ended(1).soon();
    assert!(ran.json()["error"].as_str().is_some_and(|error| error.contains("cannot be reached")), "{ran:?}");
}

#[tokio::test]
async fn a_server_without_a_namespace_is_told() {
    let Some(nats) = NatsServer::start_or_skip("dead, no stream").await else { return };
    let ran = convoke(&["dead", "list", "--nats", &nats.url()]).ended(1).soon();
    ran.said(&["there is no stream CONVOKE_DEAD"]);
}
