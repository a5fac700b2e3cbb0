//! What stands around a handler, and what goes along with a message.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
};

use convoke::{
    App, Behavior, Command, ConcurrencyLimit, Context, Delivered, Delivery, Event, Handled, Next, Outcome,
    Query, Rejection, Retry, SendError, State, Timeout, handler,
};
use convoke_testing::TestApp;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tower::{limit::ConcurrencyLimitLayer, timeout::TimeoutLayer};

#[derive(Clone, Default)]
struct Journal(Arc<Mutex<Vec<String>>>);

impl Journal {
    fn note(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }
    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, Command)]
#[command(name = "pipeline.work.v1", reply = u32, error = Rejection)]
struct Work(u32);

#[handler]
async fn work(Work(n): Work, cx: &Context, State(journal): State<Journal>) -> Outcome<Work> {
    journal.note(format!("work {n}, run {}", cx.attempt()));
    match n {
        0 => Err(Rejection::new("zero", "nothing to do"))?,
        7 if cx.attempt() < 3 => Err(io::Error::other("not yet"))?,
        50 => tokio::time::sleep(Duration::from_secs(5)).await,
        _ => {}
    }
    Ok(n)
}

/// Notes what passes.
struct Note(&'static str, Journal);

impl Behavior for Note {
    async fn around(&self, delivery: Delivery, next: Next<'_>) -> Delivered {
        let number = delivery.message::<Work>().map(|work| work.0);
        self.1.note(format!("{} in {number:?}", self.0));
        let delivered = next.run(delivery).await;
        let rejected = delivered.as_ref().is_ok_and(convoke::Answer::is_rejected);
        self.1.note(format!("{} out, rejected: {rejected}", self.0));
        delivered
    }
}

fn app(journal: &Journal) -> App {
    App::new("pipeline").node("n1").state(journal.clone()).state(Tries::default()).discover()
}

#[tokio::test(start_paused = true)]
async fn the_first_behaviour_is_the_outermost_and_layers_stand_in_the_same_list() {
    let journal = Journal::default();
    let app = app(&journal)
        .behavior(Note("a", journal.clone()))
        .layer(TimeoutLayer::new(Duration::from_secs(1)))
        .behavior(Note("b", journal.clone()));
    let app = TestApp::start(app).await;
    let refused = app.send(Work(0)).await.unwrap_err();
    assert_eq!(refused.rejected().map(|r| r.code.as_str()), Some("zero"));
    let expected =
        ["a in Some(0)", "b in Some(0)", "work 0, run 1", "b out, rejected: true", "a out, rejected: true"];
    assert_eq!(journal.lines(), expected);
    let late = app.send(Work(50)).await.unwrap_err();
    assert!(matches!(&late, SendError::Faulted(text) if text.contains("timed out")), "{late}");
}

#[tokio::test(start_paused = true)]
async fn retry_repeats_faults_and_never_answers() {
    let journal = Journal::default();
    let app = TestApp::start(app(&journal).behavior(Retry::attempts(3))).await;
    assert_eq!(app.send(Work(7)).await.unwrap(), 7);
    assert!(app.send(Work(0)).await.is_err());
    assert_eq!(journal.lines(), ["work 7, run 1", "work 7, run 2", "work 7, run 3", "work 0, run 1"]);
}

#[tokio::test(start_paused = true)]
async fn timeout_ends_what_takes_longer() {
    let app = TestApp::start(app(&Journal::default()).behavior(Timeout::after(Duration::from_secs(1)))).await;
    let begun = tokio::time::Instant::now();
    assert!(matches!(app.send(Work(50)).await, Err(SendError::TimedOut)));
    assert!(begun.elapsed() < Duration::from_secs(2));
}

/// Counts how many deliveries are inside at once.
#[derive(Clone, Default)]
struct Width {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Behavior for Width {
    async fn around(&self, delivery: Delivery, next: Next<'_>) -> Delivered {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        let delivered = next.run(delivery).await;
        self.now.fetch_sub(1, Ordering::SeqCst);
        delivered
    }
}

async fn widest(app: App, width: &Width) -> usize {
    let app = TestApp::start(app.behavior(width.clone())).await;
    let answers = app.send_all((0..12).map(|_| Work(50))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    width.most.load(Ordering::SeqCst)
}

#[tokio::test(start_paused = true)]
async fn a_concurrency_limit_holds_as_a_behaviour_and_as_a_layer() {
    let mut config = convoke::Config::default();
    config.request_timeout = Duration::from_mins(2);
    let limited = || app(&Journal::default()).config(config.clone());
    assert_eq!(widest(limited().behavior(ConcurrencyLimit::new(4)), &Width::default()).await, 4);
    assert_eq!(widest(limited().layer(ConcurrencyLimitLayer::new(3)), &Width::default()).await, 3);
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_commands_gives_its_outcomes_in_order() {
    let app = TestApp::start(app(&Journal::default())).await;
    let commands = futures_util::stream::iter((100..300).map(Work));
    let outcomes: Vec<_> = app.send_stream(commands, 16).collect().await;
    assert_eq!(outcomes.len(), 200);
    assert!(outcomes.iter().zip(100..).all(|(o, n)| o.as_ref().is_ok_and(|reply| *reply == n)));
}

#[derive(Debug, Clone, Serialize, Deserialize, Query)]
#[query(name = "pipeline.trail.v1", reply = Trail)]
struct AskTrail;

#[derive(Debug, Clone, Serialize, Deserialize, Command)]
#[command(name = "pipeline.outer.v1", reply = (Trail, Trail))]
struct Outer;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
#[event(name = "pipeline.done.v1")]
struct Done;

/// What came along.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Trail {
    id: String,
    correlation: String,
    causation: Option<String>,
    tenant: Option<String>,
}

impl Trail {
    fn of(cx: &Context) -> Self {
        Self {
            id: cx.id().to_string(),
            correlation: cx.correlation_id().to_string(),
            causation: cx.causation_id().map(|id| id.to_string()),
            tenant: cx.header("tenant").map(str::to_owned),
        }
    }
}

#[handler]
async fn trail(_: AskTrail, cx: &Context) -> Outcome<AskTrail> {
    Ok(Trail::of(cx))
}

#[handler]
async fn outer(_: Outer, cx: &Context) -> Outcome<Outer> {
    cx.publish(Done);
    let inner = cx.mediator().query(AskTrail).header("tenant", "blue").await?;
    Ok((Trail::of(cx), inner))
}

#[handler]
async fn on_done(_: Done, cx: &Context, State(journal): State<Journal>) -> Handled {
    let trail = Trail::of(cx);
    journal.note(format!("{} {:?} from {:?}", trail.correlation, trail.causation, cx.source()));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn correlation_causation_and_headers_go_along() {
    let journal = Journal::default();
    let app = TestApp::start(app(&journal)).await;
    let (outer, inner) = app.send(Outer).header("Tenant", "red").await.unwrap();
    assert_eq!((outer.tenant.as_deref(), &outer.causation), (Some("red"), &None));
    assert_eq!(outer.correlation, outer.id);
    assert_eq!(inner.tenant.as_deref(), Some("blue"), "headers are not inherited");
    assert_eq!((&inner.correlation, inner.causation.as_ref()), (&outer.id, Some(&outer.id)));
    app.settled().await;
    assert_eq!(journal.lines(), [format!("{} {:?} from Some(\"n1\")", outer.id, Some(&outer.id))]);
}

#[derive(Debug, Clone, Serialize, Deserialize, Event)]
#[event(name = "pipeline.fed.v1")]
struct Fed;

#[handler(view)]
async fn meddle(_: Fed, cx: &Context, State(journal): State<Journal>) -> Handled {
    let sent = cx.mediator().send(Work(1)).await;
    journal.note(sent.expect_err("a view may not send").to_string());
    cx.publish(Done);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_view_may_not_send_or_publish() {
    let journal = Journal::default();
    let app = TestApp::start(app(&journal)).await;
    app.publish(Fed).await.unwrap();
    app.settled().await;
    let text = "the handler failed: a view may not send: it is replayed at every start";
    assert_eq!(journal.lines(), [text; 5], "each run is a fault");
    assert_eq!(app.published::<Done>(), []);
}

#[derive(Debug, Clone, Serialize, Deserialize, Command)]
#[command(name = "pipeline.refuse-after-publish.v1", error = Rejection)]
struct RefuseAfterPublish;

#[handler]
async fn refuse_after_publish(_: RefuseAfterPublish, cx: &Context) -> Outcome<RefuseAfterPublish> {
    cx.publish(Done);
    Err(Rejection::new("no", "changed my mind"))?
}

#[tokio::test(start_paused = true)]
async fn what_a_refused_run_staged_never_leaves() {
    let app = TestApp::start(app(&Journal::default())).await;
    assert!(app.send(RefuseAfterPublish).await.is_err());
    app.settled().await;
    assert_eq!(app.published::<Done>(), []);
}

#[derive(Debug, Clone, Serialize, Deserialize, Command)]
#[command(name = "pipeline.stubborn.v1", reply = u32, idempotent)]
struct Stubborn;

#[derive(Clone, Default)]
struct Tries(Arc<AtomicU32>);

#[handler]
async fn stubborn(_: Stubborn, cx: &Context, State(tries): State<Tries>) -> Outcome<Stubborn> {
    let first = tries.0.fetch_add(1, Ordering::SeqCst) == 0;
    cx.publish(Done);
    if first {
        Err(io::Error::other("after staging"))?;
    }
    Ok(cx.attempt())
}

#[tokio::test(start_paused = true)]
async fn a_repeated_run_under_one_key_publishes_the_same_ids() {
    let journal = Journal::default();
    let app = TestApp::start(app(&journal)).await;
    assert!(app.send(Stubborn).idempotency_key("k").await.is_err());
    assert_eq!(app.send(Stubborn).idempotency_key("k").await.unwrap(), 2);
    app.settled().await;
    assert_eq!((app.published::<Done>().len(), journal.lines().len()), (1, 1));
}
