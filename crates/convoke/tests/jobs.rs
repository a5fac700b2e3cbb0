//! Enqueued commands: stored until handled, once, later when asked, and kept when nobody can handle them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use convoke::{App, Command, Config, Context, Outcome, Rejection, State, handler};
use convoke_testing::TestApp;
use serde::{Deserialize, Serialize};

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

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Command)]
#[command(name = "jobs.ship.v1", reply = u32, error = Rejection)]
struct Ship(u32);

#[handler]
async fn ship(Ship(n): Ship, cx: &Context, State(journal): State<Journal>) -> Outcome<Ship> {
    journal.note(format!("{} ships {n}, run {}", cx.node(), cx.attempt()));
    match n {
        0 => Err(Rejection::new("zero", "nothing to ship"))?,
        7 if cx.attempt() < 3 => Err(io::Error::other("no lorry"))?,
        13 => Err(io::Error::other("no road"))?,
        _ => Ok(n),
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, Command)]
#[command(name = "jobs.pay.v1", reply = String, idempotent)]
struct Pay {
    cents: u64,
}

#[handler]
async fn pay(cmd: Pay, cx: &Context, State(journal): State<Journal>) -> Outcome<Pay> {
    journal.note(format!("pays {}", cmd.cents));
    Ok(cx.id().to_string())
}

/// Stages a job.
#[derive(Debug, Clone, Serialize, Deserialize, Command)]
#[command(name = "jobs.sell.v1", error = Rejection)]
struct Sell(u32);

#[handler]
async fn sell(Sell(n): Sell, cx: &Context) -> Outcome<Sell> {
    cx.enqueue(Ship(n));
    cx.enqueue_after(Duration::from_mins(1), Ship(n + 1));
    if n == 50 {
        Err(Rejection::new("sold-out", "sold out"))?;
    }
    Ok(())
}

fn app(node: &str, journal: &Journal) -> App {
    App::new("jobs").node(node).state(journal.clone()).discover()
}

#[tokio::test(start_paused = true)]
async fn a_job_runs_once_on_one_node_also_when_it_is_delivered_twice() {
    let journal = Journal::default();
    let one = TestApp::start(app("n1", &journal)).await;
    let _two = one.start_beside(app("n2", &journal)).await;
    one.deliver_twice();
    one.redeliver();
    for n in 1..=5 {
        one.enqueue(Ship(n)).await.unwrap();
    }
    one.settled().await;
    let mut shipped: Vec<_> = journal.lines().iter().map(|line| line[3..].to_owned()).collect();
    shipped.sort();
    assert_eq!(shipped, [1, 2, 3, 4, 5].map(|n| format!("ships {n}, run 1")));
}

#[tokio::test(start_paused = true)]
async fn a_job_waits_for_a_node_that_handles_it() {
    let journal = Journal::default();
    let one = TestApp::start(app("n1", &journal)).await;
    let sender = one.start_beside(App::new("caller").node("n0")).await;
    let one = one.restart(App::new("other").node("n1")).await;
    sender.enqueue(Ship(3)).await.unwrap();
    one.settled().await;
    assert_eq!((journal.lines().len(), one.bus().enqueued::<Ship>()), (0, vec![Ship(3)]));
    let one = one.restart(app("n1", &journal)).await;
    one.settled().await;
    assert_eq!(
        (journal.lines(), one.bus().enqueued::<Ship>()),
        (vec!["n1 ships 3, run 1".to_owned()], vec![])
    );
}

#[tokio::test(start_paused = true)]
async fn faults_are_repeated_and_what_cannot_be_handled_is_kept_with_its_reason() {
    let journal = Journal::default();
    let app = TestApp::start(app("n1", &journal)).await;
    for n in [7, 13, 0] {
        app.enqueue(Ship(n)).await.unwrap();
    }
    app.settled().await;
    let runs = |n: u32| journal.lines().iter().filter(|line| line.contains(&format!("ships {n},"))).count();
    assert_eq!((runs(7), runs(13), runs(0)), (3, Config::default().attempts_max as usize, 1));
    let mut dead: Vec<_> = app.dead_letters().into_iter().map(|letter| letter.errors).collect();
    dead.sort();
    assert_eq!(dead, [["no road"], ["refused: nothing to ship"]]);
    assert_eq!(app.bus().enqueued::<Ship>(), [], "a dead letter is settled");
}

#[tokio::test(start_paused = true)]
async fn a_job_runs_when_it_is_due_unless_it_is_taken_back() {
    let journal = Journal::default();
    let app = TestApp::start(app("n1", &journal)).await;
    let later = app.enqueue(Ship(1)).after(Duration::from_hours(1)).await.unwrap();
    let never = app.enqueue(Ship(2)).after(Duration::from_hours(1)).await.unwrap();
    assert!(app.cancel(never.id).await.unwrap());
    assert!(!app.cancel(never.id).await.unwrap(), "it was taken back already");
    tokio::time::sleep(Duration::from_mins(59)).await;
    assert_eq!(journal.lines(), [""; 0]);
    tokio::time::sleep(Duration::from_mins(2)).await;
    app.settled().await;
    assert_eq!(journal.lines(), ["n1 ships 1, run 1"]);
    assert!(!app.cancel(later.id).await.unwrap(), "its time has come");
}

#[tokio::test(start_paused = true)]
async fn a_delay_that_no_clock_can_say_is_refused() {
    let app = TestApp::start(app("n1", &Journal::default())).await;
    let refused = app.enqueue(Ship(1)).after(Duration::MAX).await.unwrap_err();
    assert!(refused.to_string().contains("later than a clock can say"), "{refused}");
    assert_eq!(app.bus().enqueued::<Ship>(), []);
}

#[tokio::test(start_paused = true)]
async fn sent_and_enqueued_under_one_key_a_command_runs_once() {
    let journal = Journal::default();
    let app = TestApp::start(app("n1", &journal)).await;
    app.enqueue(Pay { cents: 5 }).idempotency_key("k").await.unwrap();
    app.settled().await;
    let reply = app.send(Pay { cents: 5 }).idempotency_key("k").detailed().await.unwrap();
    assert!(reply.replayed && !reply.value.is_empty());
    assert_eq!(journal.lines(), ["pays 5"]);
    app.enqueue(Pay { cents: 6 }).idempotency_key("k").await.unwrap();
    app.settled().await;
    assert_eq!(app.dead_letters()[0].errors, ["the idempotency key was used with another payload"]);
}

#[tokio::test(start_paused = true)]
async fn a_staged_job_leaves_with_the_outcome_or_not_at_all() {
    let journal = Journal::default();
    let app = TestApp::start(app("n1", &journal)).await;
    app.send(Sell(20)).await.unwrap();
    assert!(app.send(Sell(50)).await.is_err());
    tokio::time::sleep(Duration::from_mins(2)).await;
    app.settled().await;
    assert_eq!(journal.lines(), ["n1 ships 20, run 1", "n1 ships 21, run 1"]);
}
