//! The table of errors, line by line: what the caller sees, and whether the handler ran.
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use convoke::{
    Answered, App, BoxFuture, Claim, ClaimKey, ClaimStore, Claimed, Codec, Command, Config, Context,
    Envelope, Executed, Failed, Holder, InProcess, Invalid, MessageKind, Outcome, Outgoing, Payload,
    Rejection, SendError, State, StoreError, StoredOutcome, Stores, Transport, handler, stores_in_process,
};
use convoke_testing::{TestApp, eventually};
use serde::{Deserialize, Serialize};

#[derive(Clone, Default)]
struct Runs(Arc<AtomicU32>);

impl Runs {
    fn count(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}

/// Does what it says.
#[derive(Debug, Clone, Serialize, Deserialize, Command)]
#[command(name = "errors.act.v1", reply = u32, error = Rejection, validate = Act::check)]
struct Act {
    what: String,
}

impl Act {
    fn check(&self) -> Result<(), Invalid> {
        if self.what.is_empty() { Err(Invalid::field("what", "must not be empty")) } else { Ok(()) }
    }
}

fn act(what: &str) -> Act {
    Act { what: what.to_owned() }
}

async fn perform(what: &str) -> Outcome<Act> {
    match what {
        "refuse" => Err(Rejection::new("no", "not today"))?,
        "fail" => Err(io::Error::other("disk full"))?,
        "panic" => panic!("at the disk"),
        "sleep" => tokio::time::sleep(Duration::from_secs(5)).await,
        _ => {}
    }
    Ok(1)
}

#[handler(concurrency = 1)]
async fn on_act(cmd: Act, State(runs): State<Runs>) -> Outcome<Act> {
    runs.0.fetch_add(1, Ordering::SeqCst);
    perform(&cmd.what).await
}

/// The same, once per key.
#[derive(Debug, Clone, Serialize, Deserialize, Command)]
#[command(name = "errors.act-once.v1", reply = u32, error = Rejection, idempotent)]
struct ActOnce {
    what: String,
}

#[handler]
async fn on_act_once(cmd: ActOnce, State(runs): State<Runs>) -> Outcome<ActOnce> {
    runs.0.fetch_add(1, Ordering::SeqCst);
    perform(&cmd.what).await
}

/// Nobody handles it.
#[derive(Debug, Clone, Serialize, Deserialize, Command)]
#[command(name = "errors.orphan.v1")]
struct Orphan;

fn app(runs: &Runs) -> App {
    let mut config = Config::default();
    config.queue_max = 0;
    App::new("errors").node("n1").config(config).state(runs.clone()).discover()
}

#[track_caller]
fn check<E: std::fmt::Display>(error: SendError<E>, text: &str, executed: Executed) {
    assert_eq!((error.to_string().as_str(), error.executed()), (text, executed));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_ran() {
    let runs = Runs::default();
    let app = TestApp::start(app(&runs)).await;
    check(app.send(act("refuse")).await.unwrap_err(), "rejected: not today", Executed::Yes);
    assert_eq!(runs.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_invalid_did_not_run() {
    let runs = Runs::default();
    let app = TestApp::start(app(&runs)).await;
    check(app.send(act("")).await.unwrap_err(), "invalid message: what: must not be empty", Executed::No);
    assert_eq!(runs.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_undecodable_did_not_run() {
    let (runs, bus) = (Runs::default(), InProcess::new());
    let _node = app(&runs).transport(bus.another_node()).start().await.unwrap();
    let bytes = bytes::Bytes::from_static(b"\xdd\xff\xff\xff\xff");
    let message = Outgoing {
        name: "errors.act.v1",
        kind: MessageKind::Command,
        lane: 0,
        payload: Payload::Bytes { codec: Codec::MessagePack, bytes },
        envelope: Envelope::default(),
    };
    let deadline = tokio::time::Instant::now() + Duration::from_secs(1);
    let answered = bus.request(message, deadline).await.unwrap();
    assert!(matches!(answered, Answered::Failed(Failed::Undecodable(_))), "{answered:?}");
    assert_eq!(runs.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn another_payload_under_a_used_key_did_not_run() {
    let runs = Runs::default();
    let app = TestApp::start(app(&runs)).await;
    let send = async |what: &str| app.send(ActOnce { what: what.to_owned() }).idempotency_key("k").await;
    assert_eq!(send("this").await.unwrap(), 1);
    check(send("that").await.unwrap_err(), "the idempotency key was used with another payload", Executed::No);
    assert_eq!(runs.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_repeat_whose_deadline_comes_first_is_told_that_the_run_goes_on() {
    let runs = Runs::default();
    let app = TestApp::start(app(&runs)).await;
    let first =
        app.send(ActOnce { what: "sleep".into() }).idempotency_key("k").timeout(Duration::from_secs(20));
    let repeat = async {
        eventually("the first runs", || async { runs.count() == 1 }).await;
        app.send(ActOnce { what: "sleep".into() }).idempotency_key("k").timeout(Duration::from_secs(1)).await
    };
    let (first, repeat) = tokio::join!(first.into_future(), repeat);
    check(repeat.unwrap_err(), "still in progress", Executed::Running);
    assert_eq!((first.unwrap(), runs.count()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn without_a_handler_nothing_ran() {
    let app = TestApp::start(app(&Runs::default())).await;
    check(app.send(Orphan).await.unwrap_err(), "no handler", Executed::No);
}

#[tokio::test(start_paused = true)]
async fn what_is_beyond_the_limits_did_not_run() {
    let runs = Runs::default();
    let app = TestApp::start(app(&runs)).await;
    let busy = app.send(act("sleep"));
    let other = async {
        eventually("the first runs", || async { runs.count() == 1 }).await;
        app.send(act("work")).await
    };
    let (busy, other) = tokio::join!(busy.into_future(), other);
    check(other.unwrap_err(), "overloaded", Executed::No);
    assert_eq!((busy.unwrap(), runs.count()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn without_its_store_an_idempotent_command_did_not_run() {
    let (runs, bus) = (Runs::default(), InProcess::new());
    let stores = Stores { claims: Arc::new(Away), ..stores_in_process() };
    let node = app(&runs).transport(bus).stores(stores).start().await.unwrap();
    let error = node.mediator().send(ActOnce { what: "work".into() }).await.unwrap_err();
    check(error, "unavailable: away: store unavailable: unplugged", Executed::No);
    assert_eq!(runs.count(), 0);
    let health = node.health().await;
    assert!(!health.is_ready(), "{health}");
}

#[tokio::test(start_paused = true)]
async fn after_a_timeout_it_may_have_run() {
    let runs = Runs::default();
    let app = TestApp::start(app(&runs)).await;
    let error = app.send(act("sleep")).timeout(Duration::from_secs(1)).await.unwrap_err();
    check(error, "no answer in time", Executed::Unknown);
    assert_eq!(runs.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_fault_ran_and_failed() {
    let runs = Runs::default();
    let app = TestApp::start(app(&runs)).await;
    check(app.send(act("fail")).await.unwrap_err(), "the handler failed: disk full", Executed::Yes);
    check(
        app.send(act("panic")).await.unwrap_err(),
        "the handler failed: the handler panicked: at the disk",
        Executed::Yes,
    );
    assert_eq!(runs.count(), 2, "a `send` is never retried behind the caller's back");
}

#[tokio::test(start_paused = true)]
async fn a_fault_gives_the_key_back() {
    let runs = Runs::default();
    let app = TestApp::start(app(&runs)).await;
    for _ in 0..2 {
        let error = app.send(ActOnce { what: "fail".into() }).idempotency_key("k").await.unwrap_err();
        check(error, "the handler failed: disk full", Executed::Yes);
    }
    assert_eq!(runs.count(), 2);
}

/// Hands its own deadline down.
#[derive(Debug, Clone, Serialize, Deserialize, Command)]
#[command(name = "errors.nest.v1", reply = u64)]
struct Nest;

#[handler]
async fn nest(_: Nest, cx: &Context) -> Outcome<Nest> {
    let begun = tokio::time::Instant::now();
    let error =
        cx.mediator().send(act("sleep")).timeout(Duration::from_secs(60)).await.expect_err("it sleeps");
    assert_eq!(error.executed(), Executed::Unknown);
    Ok(u64::try_from(begun.elapsed().as_millis()).expect("less than a minute"))
}

#[tokio::test(start_paused = true)]
async fn a_nested_call_never_outlives_the_outer_deadline() {
    let app = TestApp::start(app(&Runs::default())).await;
    let begun = tokio::time::Instant::now();
    let error = app.send(Nest).timeout(Duration::from_secs(2)).await.unwrap_err();
    assert_eq!(error.executed(), Executed::Unknown);
    assert!(begun.elapsed() < Duration::from_millis(2100), "{:?}", begun.elapsed());
}

/// A store that cannot be reached.
struct Away;

fn away<'a, T: Send + 'a>() -> BoxFuture<'a, Result<T, StoreError>> {
    Box::pin(async { Err(StoreError::unavailable("unplugged")) })
}

impl ClaimStore for Away {
    fn name(&self) -> &'static str {
        "away"
    }
    fn is_shared(&self) -> bool {
        true
    }
    fn claim<'a>(&'a self, _: &'a ClaimKey, _: Claim) -> BoxFuture<'a, Result<Claimed, StoreError>> {
        away()
    }
    fn renew<'a>(
        &'a self,
        _: &'a ClaimKey,
        _: Holder,
        _: Duration,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        away()
    }
    fn complete<'a>(
        &'a self,
        _: &'a ClaimKey,
        _: Holder,
        _: StoredOutcome,
        _: Duration,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        away()
    }
    fn release<'a>(&'a self, _: &'a ClaimKey, _: Holder) -> BoxFuture<'a, Result<(), StoreError>> {
        away()
    }
    fn changed<'a>(&'a self, _: &'a ClaimKey, _: Duration) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }
    fn ping(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        away()
    }
}
