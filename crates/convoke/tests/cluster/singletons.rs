//! What runs once in the whole cluster.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use convoke::{App, BoxError, Fence, Singleton, SingletonContext, SingletonState};
use convoke_testing::{Elections, TestApp, eventually};
use tokio::time::Instant;

/// A cluster turns a leader away before another one can lead, and so much before.
const LEASE_MARGIN: Duration = Duration::from_millis(1);

/// What happened, and how many ran at once.
#[derive(Clone, Default)]
struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    fences: Arc<Mutex<Vec<Fence>>>,
    at: Arc<Mutex<Vec<Instant>>>,
    inside: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

struct Inside<'a>(&'a Log, String);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::SeqCst);
        self.0.lines.lock().unwrap().push(format!("{} ends", self.1));
    }
}

impl Log {
    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
    fn starts(&self) -> usize {
        self.fences.lock().unwrap().len()
    }
    fn enter(&self, cx: &SingletonContext) -> Inside<'_> {
        let inside = self.inside.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(inside, Ordering::SeqCst);
        self.lines.lock().unwrap().push(format!("{} starts {}", cx.node(), cx.attempt()));
        self.fences.lock().unwrap().push(cx.fence());
        self.at.lock().unwrap().push(Instant::now());
        Inside(self, cx.node().to_owned())
    }
}

/// Runs until it is dropped, or does what it is told.
#[derive(Clone)]
struct Body {
    log: Log,
    ends: fn(u32) -> Option<Result<(), BoxError>>,
}

impl Singleton for Body {
    async fn run(&self, cx: SingletonContext) -> Result<(), BoxError> {
        let _inside = self.log.enter(&cx);
        tokio::task::yield_now().await;
        match (self.ends)(cx.attempt()) {
            Some(ended) => ended,
            None => std::future::pending().await,
        }
    }
}

fn app(node: &str, elections: &Elections, body: &Body) -> App {
    App::new("sweeping").node(node).cluster(elections.member(node)).singleton("sweep", body.clone())
}

fn for_ever(log: &Log) -> Body {
    Body { log: log.clone(), ends: |_| None }
}

async fn state(app: &TestApp) -> SingletonState {
    app.health().await.cluster.unwrap().singletons[0].state
}

#[tokio::test(start_paused = true)]
async fn it_runs_on_the_leader_alone_and_ends_before_another_begins() {
    let (log, elections) = (Log::default(), Elections::new());
    let n1 = TestApp::start(app("n1", &elections, &for_ever(&log))).await;
    let n2 = n1.start_beside(app("n2", &elections, &for_ever(&log))).await;
    assert_eq!((state(&n1).await, log.starts()), (SingletonState::Waiting, 0));
    for (term, leader) in (1..=6).zip(["n1", "n2"].into_iter().cycle()) {
        elections.depose();
        tokio::time::sleep(LEASE_MARGIN).await;
        elections.elect(leader);
        eventually("it runs", || async { log.starts() == term }).await;
    }
    elections.depose();
    eventually("it ends", || async { log.lines().len() == 12 }).await;
    assert_eq!(log.most.load(Ordering::SeqCst), 1, "{:?}", log.lines());
    assert_eq!(log.lines()[..4], ["n1 starts 1", "n1 ends", "n2 starts 1", "n2 ends"]);
    let fences = log.fences.lock().unwrap().clone();
    assert!(fences.is_sorted() && fences.iter().map(|fence| fence.term).eq(1..=6), "{fences:?}");
    assert_eq!(state(&n2).await, SingletonState::Waiting);
}

#[tokio::test(start_paused = true)]
async fn it_is_not_started_for_a_leader_that_cannot_confirm_it() {
    let (log, elections) = (Log::default(), Elections::new());
    let _n1 = TestApp::start(app("n1", &elections, &for_ever(&log))).await;
    elections.member("n1").believes(convoke::Leadership::Leader { term: 7 });
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(log.starts(), 0);
    elections.elect("n1");
    eventually("it runs", || async { log.starts() == 1 }).await;
}

#[tokio::test(start_paused = true)]
async fn it_is_started_again_after_a_failure_and_a_panic_with_growing_pauses() {
    let (log, elections) = (Log::default(), Elections::new());
    let ends = |attempt| match attempt {
        1 | 3 => Some(Err("the store is away".into())),
        2 => panic!("a bug"),
        _ => None,
    };
    let n1 = TestApp::start(app("n1", &elections, &Body { log: log.clone(), ends })).await;
    elections.elect("n1");
    eventually("it runs for good", || async { log.starts() == 4 }).await;
    let at = log.at.lock().unwrap().clone();
    let pauses: Vec<_> = at.windows(2).map(|two| (two[1] - two[0]).as_millis()).collect();
    assert!((160..=241).contains(&pauses[0]) && (640..=961).contains(&pauses[2]), "{pauses:?}");
    let health = n1.health().await.cluster.unwrap().singletons.remove(0);
    assert_eq!((health.state, health.failures), (SingletonState::Running, 3));
    assert_eq!(health.last_error.as_deref(), Some("the store is away"));
}

#[tokio::test(start_paused = true)]
async fn one_that_ends_well_rests_until_the_next_term() {
    let (log, elections) = (Log::default(), Elections::new());
    let n1 = TestApp::start(app("n1", &elections, &Body { log: log.clone(), ends: |_| Some(Ok(())) })).await;
    elections.elect("n1");
    tokio::time::sleep(Duration::from_mins(5)).await;
    assert_eq!((log.starts(), state(&n1).await), (1, SingletonState::Done));
    elections.elect("n1");
    eventually("it runs again", || async { log.starts() == 2 }).await;
}

#[tokio::test(start_paused = true)]
async fn it_ends_with_its_node_whether_that_is_stopped_or_dropped() {
    let (log, elections) = (Log::default(), Elections::new());
    for stops in [true, false] {
        let before = log.lines().len();
        let n1 = app("n1", &elections, &for_ever(&log)).start().await.unwrap();
        elections.elect("n1");
        eventually("it runs", || async { log.lines().len() == before + 1 }).await;
        if stops {
            n1.stop().await;
            assert_eq!(log.lines().len(), before + 2, "it has ended when the stop has");
        } else {
            drop(n1);
            eventually("it ends", || async { log.lines().len() == before + 2 }).await;
        }
    }
}
