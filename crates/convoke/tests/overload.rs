//! Callers of a node that is full go elsewhere, as far as the budget for repeats allows.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use convoke::{App, Command, Config, Context, InProcess, Node, Outcome, SendError, State, handler};
use convoke_testing::eventually;
use serde::{Deserialize, Serialize};
use tokio::sync::{AcquireError, Semaphore};

#[derive(Debug, Clone, Serialize, Deserialize, Command)]
#[command(name = "overload.work.v1", reply = String)]
struct Work {
    long: bool,
}

/// The same under a key, as a caller prefers its own node.
#[derive(Debug, Clone, Serialize, Deserialize, Command)]
#[command(name = "overload.note.v1", reply = String, idempotent)]
struct Note {
    long: bool,
}

#[handler]
async fn note(cmd: Note, cx: &Context, State(desk): State<Desk>) -> Outcome<Note> {
    desk.sit(cmd.long).await?;
    Ok(cx.node().to_owned())
}

#[derive(Clone)]
struct Desk {
    gate: Arc<Semaphore>,
    busy: Arc<AtomicU32>,
}

impl Desk {
    async fn sit(&self, long: bool) -> Result<(), AcquireError> {
        if long {
            self.busy.fetch_add(1, Ordering::SeqCst);
            self.gate.acquire().await?.forget();
            self.busy.fetch_sub(1, Ordering::SeqCst);
        }
        Ok(())
    }
}

#[handler]
async fn work(cmd: Work, cx: &Context, State(desk): State<Desk>) -> Outcome<Work> {
    desk.sit(cmd.long).await?;
    Ok(cx.node().to_owned())
}

/// A node that works on one thing at a time and lets nothing wait.
async fn node(transport: InProcess, id: &str, desk: &Desk) -> Node {
    let mut config = Config::default();
    (config.concurrency, config.queue_max) = (1, 0);
    let app = App::new("overload").node(id).config(config).transport(transport).state(desk.clone());
    app.discover().start().await.unwrap()
}

fn desk() -> Desk {
    Desk { gate: Arc::new(Semaphore::new(0)), busy: Arc::default() }
}

async fn is_busy(desk: &Desk) {
    eventually("it works", || async { desk.busy.load(Ordering::SeqCst) == 1 }).await;
}

#[tokio::test]
async fn callers_of_a_full_node_are_served_by_another() {
    let (bus, desk) = (InProcess::new(), desk());
    bus.bus().encode_always(); // as over a network
    let full = node(bus.another_node(), "full", &desk).await;
    let mediator = full.mediator();
    let long = tokio::spawn(async move { mediator.send(Work { long: true }).await });
    is_busy(&desk).await;
    let refused = full.mediator().send(Work { long: false }).await;
    assert!(matches!(refused, Err(SendError::Overloaded)), "it is the only one: {refused:?}");
    let free = node(bus.another_node(), "free", &desk).await;
    for caller in [&free, &full] {
        for _ in 0..6 {
            assert_eq!(caller.mediator().send(Work { long: false }).await.unwrap(), "free");
        }
    }
    desk.gate.add_permits(1);
    assert_eq!(long.await.unwrap().unwrap(), "full");
}

#[tokio::test]
async fn a_caller_who_prefers_its_own_node_goes_elsewhere_when_that_is_full() {
    let (bus, desk) = (InProcess::new(), desk());
    let full = node(bus.another_node(), "full", &desk).await;
    let mediator = full.mediator();
    let long = tokio::spawn(async move { mediator.send(Note { long: true }).idempotency_key("long").await });
    is_busy(&desk).await;
    let _free = node(bus.another_node(), "free", &desk).await;
    let caller = full.mediator();
    for n in 0..4 {
        let note = caller.send(Note { long: false }).idempotency_key(n.to_string());
        assert_eq!(note.local().await.unwrap(), "free");
    }
    desk.gate.add_permits(1);
    assert_eq!(long.await.unwrap().unwrap(), "full");
    let own = caller.send(Note { long: false }).idempotency_key("own").local();
    assert_eq!(own.await.unwrap(), "full");
}
