//! Outcome, staged messages and an application's own writes in one step, over real servers that go away.
#![cfg(all(unix, feature = "nats", feature = "redis"))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use convoke::{
    App, Command, Config, Context, Event, Executed, Handled, InProcess, Node, Outcome, Rejection, SendError,
    State, StoreErrorKind, handler, nats, redis,
};
use convoke_testing::{
    eventually, eventually_within,
    servers::{NatsServer, RedisServer},
};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

const SOON: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Serialize, Deserialize, Command)]
#[command(name = "outbox.place.v1", reply = u32, idempotent)]
struct Place {
    number: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
#[event(name = "outbox.placed.v1", key = list)]
struct Placed {
    list: String,
    number: u32,
}

/// Adds to a counter that others write as well.
#[derive(Debug, Clone, Serialize, Deserialize, Command)]
#[command(name = "outbox.count.v1", reply = u32, error = Rejection)]
struct Count {
    refuse: bool,
}

/// The same under a key.
#[derive(Debug, Clone, Serialize, Deserialize, Command)]
#[command(name = "outbox.note.v1", reply = String, error = Rejection, idempotent)]
struct Note {
    refuse: bool,
}

/// What the handlers have in hand.
#[derive(Clone, Default)]
struct Desk {
    seen: Arc<Mutex<Vec<u32>>>,
    redis: Arc<Mutex<Option<redis::Connection>>>,
    /// Killed by the next run of `place`.
    victim: Arc<Mutex<Option<Arc<RedisServer>>>>,
    runs: Arc<AtomicU32>,
}

impl Desk {
    fn seen(&self) -> Vec<u32> {
        self.seen.lock().unwrap().clone()
    }

    fn connection(&self) -> redis::Connection {
        self.redis.lock().unwrap().clone().unwrap()
    }

    async fn text(&self, key: &str) -> Option<String> {
        self.connection().query(redis::redis::cmd("GET").arg(key)).await.unwrap()
    }
}

#[handler]
async fn place(cmd: Place, cx: &Context, State(desk): State<Desk>) -> Outcome<Place> {
    desk.runs.fetch_add(1, Ordering::SeqCst);
    cx.publish(Placed { list: "one".into(), number: cmd.number });
    if let Some(server) = desk.victim.lock().unwrap().take() {
        server.kill();
    }
    Ok(cmd.number)
}

#[handler]
async fn placed(event: Placed, State(desk): State<Desk>) -> Handled {
    desk.seen.lock().unwrap().push(event.number);
    Ok(())
}

const COUNTER: &str = "app:{p07}:counter";

#[handler]
async fn count(cmd: Count, cx: &Context, State(desk): State<Desk>) -> Outcome<Count> {
    desk.runs.fetch_add(1, Ordering::SeqCst);
    let before = desk.text(COUNTER).await;
    let next = before.as_deref().map_or(0, |text| text.parse().unwrap()) + 1;
    let commit = match &before {
        None => redis::Commit::new().if_absent(COUNTER),
        Some(before) => redis::Commit::new().if_value(COUNTER, before),
    };
    cx.commit_with(commit.set(COUNTER, next.to_string()))?;
    cx.publish(Placed { list: "count".into(), number: next });
    if cmd.refuse {
        Err(Rejection::new("no", "not today"))?;
    }
    Ok(next)
}

#[handler]
async fn note(cmd: Note, cx: &Context) -> Outcome<Note> {
    let elsewhere = redis::Commit::new().set("app:{p64}:x", "x");
    assert_eq!(cx.commit_with(elsewhere).unwrap_err().kind(), StoreErrorKind::Refused);
    assert_eq!(cx.commit_with("no writes").unwrap_err().kind(), StoreErrorKind::Refused);
    let key = format!("app:{}:note:{}", cx.commit_tag().unwrap(), cx.id());
    cx.commit_with(redis::Commit::new().if_absent(&key).set(&key, "noted"))?;
    cx.publish(Placed { list: "note".into(), number: 1 });
    if cmd.refuse {
        return Err(Rejection::new("no", &key))?;
    }
    Ok(key)
}

fn app(desk: &Desk, stores: &redis::Stores, outbox_max: usize) -> App {
    *desk.redis.lock().unwrap() = Some(stores.connection());
    let mut config = Config::default();
    config.outbox_max = outbox_max;
    config.lease = Duration::from_secs(1);
    config.outbox_sweep = Duration::from_millis(200);
    config.leave_timeout = Duration::from_secs(2);
    let app = App::new("outbox").node("n1").config(config).state(desk.clone()).stores(stores.clone());
    app.function(place).function(placed).function(count).function(note)
}

async fn over_nats(nats: &NatsServer, redis: &RedisServer, desk: &Desk, outbox_max: usize) -> Node {
    let transport = nats::Transport::connect(nats.url()).await.unwrap();
    let stores = redis::Stores::connect(redis.url()).await.unwrap();
    let node = app(desk, &stores, outbox_max).transport(transport).start().await.unwrap();
    node.ready(SOON).await.unwrap();
    node
}

async fn in_this_process(redis: &RedisServer, desk: &Desk) -> Node {
    let stores = redis::Stores::connect(redis.url()).await.unwrap();
    app(desk, &stores, 1000).transport(InProcess::new()).start().await.unwrap()
}

async fn place_here(node: &Node, number: u32) -> Result<u32, SendError<convoke::Never>> {
    let key = format!("k-{number}");
    node.mediator().send(Place { number }).idempotency_key(key).local().timeout(SOON).await
}

/// The broker is gone, and the node knows it.
async fn kill(nats: &NatsServer, node: &Node) {
    nats.kill();
    eventually("the node knows that NATS is away", async || !node.health().await.is_ready()).await;
}

#[tokio::test]
async fn while_nats_is_away_rows_wait_and_leave_when_it_is_back() {
    let test = "while_nats_is_away_rows_wait_and_leave_when_it_is_back";
    let Some(nats) = NatsServer::start_or_skip(test).await else { return };
    let Some(redis) = RedisServer::start_or_skip(test).await else { return };
    let desk = Desk::default();
    let node = over_nats(&nats, &redis, &desk, 1000).await;
    kill(&nats, &node).await;
    for number in 0..20 {
        assert_eq!(place_here(&node, number).await.unwrap(), number);
    }
    eventually("they wait", async || node.outbox().unwrap().waiting == 20).await;
    assert!(node.outbox().unwrap().oldest.is_some());
    assert!(desk.seen().is_empty());
    nats.restart().await.unwrap();
    eventually_within(SOON, "all arrive", async || desk.seen().len() == 20).await;
    eventually("the outbox is empty", async || node.outbox().unwrap().waiting == 0).await;
    let mut seen = desk.seen();
    seen.sort_unstable();
    assert_eq!(seen, (0..20).collect::<Vec<_>>());
    assert_eq!(node.stop().await.waiting, 0);
}

#[tokio::test]
async fn an_outbox_at_its_bound_refuses_new_work_and_takes_it_again_later() {
    let test = "an_outbox_at_its_bound_refuses_new_work_and_takes_it_again_later";
    let Some(nats) = NatsServer::start_or_skip(test).await else { return };
    let Some(redis) = RedisServer::start_or_skip(test).await else { return };
    let desk = Desk::default();
    let node = over_nats(&nats, &redis, &desk, 5).await;
    kill(&nats, &node).await;
    for number in 0..5 {
        place_here(&node, number).await.unwrap();
    }
    let runs = desk.runs.load(Ordering::SeqCst);
    let refused = place_here(&node, 5).await.unwrap_err();
    assert!(matches!(refused, SendError::Unavailable(_)), "{refused}");
    assert_eq!((refused.executed(), desk.runs.load(Ordering::SeqCst)), (Executed::No, runs));
    let health = node.health().await;
    assert!(health.to_string().contains("outbox: 5 messages wait"), "{health}");
    nats.restart().await.unwrap();
    eventually_within(SOON, "there is room", async || place_here(&node, 5).await.is_ok()).await;
    eventually_within(SOON, "all arrive", async || desk.seen().len() == 6).await;
    node.stop().await;
}

#[tokio::test]
async fn a_node_that_stops_tells_what_stays_and_the_next_one_relays_it() {
    let test = "a_node_that_stops_tells_what_stays_and_the_next_one_relays_it";
    let Some(nats) = NatsServer::start_or_skip(test).await else { return };
    let Some(redis) = RedisServer::start_or_skip(test).await else { return };
    let desk = Desk::default();
    let node = over_nats(&nats, &redis, &desk, 1000).await;
    kill(&nats, &node).await;
    for number in 0..3 {
        place_here(&node, number).await.unwrap();
    }
    let report = node.stop().await;
    assert_eq!((report.waiting, report.lost), (3, 0));
    let admin = redis::Stores::connect(redis.url()).await.unwrap().outbox("convoke", "outbox");
    assert_eq!(admin.count().await.unwrap(), (3, 0));
    let page = admin.waiting(None, 2).await.unwrap();
    assert_eq!(page.rows.len(), 2);
    assert!(page.rows.iter().all(|row| row.info.as_ref().unwrap().name == "outbox.placed.v1"), "{page:?}");
    assert_eq!(admin.waiting(page.next.as_deref(), 2).await.unwrap().rows.len(), 1);
    nats.restart().await.unwrap();
    let node = over_nats(&nats, &redis, &desk, 1000).await;
    eventually_within(SOON, "all arrive", async || desk.seen().len() == 3).await;
    assert_eq!(node.stop().await.waiting, 0);
    assert_eq!(admin.count().await.unwrap(), (0, 0));
}

#[tokio::test]
async fn a_redis_that_dies_between_claim_and_commit_leaves_no_half() {
    let test = "a_redis_that_dies_between_claim_and_commit_leaves_no_half";
    let builder = RedisServer::builder().append_only().option("appendfsync", "always");
    let Some(server) = builder.start_or_skip(test).await else { return };
    let (server, desk) = (Arc::new(server), Desk::default());
    let node = in_this_process(&server, &desk).await;
    *desk.victim.lock().unwrap() = Some(server.clone());
    let error = place_here(&node, 7).await.unwrap_err();
    assert_eq!(error.executed(), Executed::Yes, "{error}");
    server.restart().await.unwrap();
    // Neither an outcome nor a row was stored: the event of the first run is gone with it.
    assert_eq!((desk.runs.load(Ordering::SeqCst), desk.seen()), (1, vec![]));
    let placed = async || place_here(&node, 7).await.map_err(|error| error.to_string());
    eventually_within(SOON, "the repeat runs", placed).await;
    eventually("its event arrives", async || desk.seen() == [7]).await;
    assert_eq!(desk.runs.load(Ordering::SeqCst), 2);
    // And from here on it is done.
    assert_eq!(place_here(&node, 7).await.unwrap(), 7);
    assert_eq!(desk.runs.load(Ordering::SeqCst), 2);
    node.stop().await;
}

#[tokio::test]
async fn writes_whose_condition_fails_are_tried_again_and_none_is_lost() {
    let test = "writes_whose_condition_fails_are_tried_again_and_none_is_lost";
    let Some(server) = RedisServer::start_or_skip(test).await else { return };
    let desk = Desk::default();
    let node = in_this_process(&server, &desk).await;
    let mediator = node.mediator();
    // Fewer at once than a run is tried again.
    for round in 0..5 {
        let counted = join_all((0..8).map(|_| mediator.send(Count { refuse: false }).into_future())).await;
        let mut counted: Vec<_> = counted.into_iter().map(Result::unwrap).collect();
        counted.sort_unstable();
        assert_eq!(counted, (round * 8 + 1..=round * 8 + 8).collect::<Vec<_>>());
    }
    assert_eq!(desk.text(COUNTER).await.as_deref(), Some("40"));
    assert!(desk.runs.load(Ordering::SeqCst) > 40, "nothing was overtaken: the test shows nothing");
    eventually("each has its event", async || desk.seen().len() == 40).await;
    // Their slot and their key are one, so they came in the order of the commits.
    assert_eq!(desk.seen(), (1..=40).collect::<Vec<_>>());
    node.stop().await;
}

#[tokio::test]
async fn writes_are_made_with_the_outcome_and_never_for_a_refusal() {
    let test = "writes_are_made_with_the_outcome_and_never_for_a_refusal";
    let Some(server) = RedisServer::start_or_skip(test).await else { return };
    let desk = Desk::default();
    let node = in_this_process(&server, &desk).await;
    let mediator = node.mediator();
    let key = mediator.send(Note { refuse: false }).idempotency_key("a").await.unwrap();
    assert_eq!(desk.text(&key).await.as_deref(), Some("noted"));
    let repeated = mediator.send(Note { refuse: false }).idempotency_key("a").await.unwrap();
    assert_eq!(repeated, key);
    let refused = mediator.send(Note { refuse: true }).idempotency_key("b").await.unwrap_err();
    let key = refused.rejected().unwrap().message.clone();
    assert_eq!(desk.text(&key).await, None);
    let refused = mediator.send(Count { refuse: true }).await.unwrap_err();
    assert!(refused.rejected().is_some(), "{refused}");
    assert_eq!(desk.text(COUNTER).await, None);
    eventually("the event arrives", async || desk.seen() == [1]).await;
    node.stop().await;
}

#[tokio::test]
async fn a_write_to_a_key_of_another_type_is_refused_and_nothing_is_made() {
    #[derive(Debug, Clone, Serialize, Deserialize, Command)]
    #[command(name = "outbox.types.v1", idempotent)]
    struct Types;

    fn keys(tag: &str) -> [String; 2] {
        ["first", "second"].map(|name| format!("app:{tag}:types:{name}"))
    }

    #[handler]
    async fn types(_: Types, cx: &Context) -> Outcome<Types> {
        let [first, second] = keys(&cx.commit_tag().unwrap());
        cx.commit_with(redis::Commit::new().set(&first, "x").hash_set(&second, &[("field", b"x")]))?;
        cx.publish(Placed { list: "types".into(), number: 1 });
        Ok(())
    }

    let test = "a_write_to_a_key_of_another_type_is_refused_and_nothing_is_made";
    let Some(server) = RedisServer::start_or_skip(test).await else { return };
    let desk = Desk::default();
    let stores = redis::Stores::connect(server.url()).await.unwrap();
    let node = app(&desk, &stores, 1000).function(types).start().await.unwrap();
    let send = async || node.mediator().send(Types).idempotency_key("k").await;
    // Wherever the claim lies.
    for slot in 0..64 {
        let [_, second] = keys(&redis::Slot::new(slot).tag());
        let _: () = desk.connection().query(redis::redis::cmd("SET").arg(second).arg("text")).await.unwrap();
    }
    let error = send().await.unwrap_err();
    assert!(error.to_string().contains("another type"), "{error}");
    for slot in 0..64 {
        let [first, second] = keys(&redis::Slot::new(slot).tag());
        assert_eq!(desk.text(&first).await, None, "half of the commit was made");
        let _: () = desk.connection().query(redis::redis::cmd("DEL").arg(second)).await.unwrap();
    }
    assert!(desk.seen().is_empty());
    send().await.unwrap(); // at once: the claim was given back
    eventually("its event arrives", async || desk.seen() == [1]).await;
    node.stop().await;
}

#[tokio::test]
async fn without_its_redis_a_command_that_holds_no_claim_still_publishes() {
    #[derive(Debug, Clone, Serialize, Deserialize, Command)]
    #[command(name = "outbox.tell.v1")]
    struct Tell;

    #[handler]
    async fn tell(_: Tell, cx: &Context) -> Outcome<Tell> {
        cx.publish(Placed { list: "told".into(), number: 1 });
        Ok(())
    }

    let test = "without_its_redis_a_command_that_holds_no_claim_still_publishes";
    let Some(server) = RedisServer::start_or_skip(test).await else { return };
    let (desk, place) = (Desk::default(), InProcess::new());
    let bus = place.bus();
    let stores = redis::Stores::connect(server.url()).await.unwrap();
    let node = app(&desk, &stores, 1000).function(tell).transport(place).start().await.unwrap();
    server.kill();
    node.mediator().send(Tell).await.unwrap();
    assert_eq!(bus.published::<Placed>(), [Placed { list: "told".into(), number: 1 }]);
}

#[tokio::test]
async fn without_an_outbox_writes_are_refused() {
    #[derive(Debug, Clone, Serialize, Deserialize, Command)]
    #[command(name = "outbox.write.v1")]
    struct Write;

    #[handler]
    async fn write(_: Write, cx: &Context) -> Outcome<Write> {
        assert_eq!(cx.commit_tag(), None);
        assert_eq!(cx.commit_with(1).unwrap_err().kind(), StoreErrorKind::Refused);
        Ok(())
    }

    let node = App::new("outbox").function(write).start().await.unwrap();
    assert_eq!(node.outbox(), None);
    node.mediator().send(Write).await.unwrap();
    node.stop().await;
}
