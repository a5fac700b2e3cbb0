//! An app on the in-process bus: what a user sees.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use convoke::{
    App, Command, Config, Context, Event, Executed, Handled, InProcess, Mediator, Outcome, Query, Rejection,
    SendError, Service, State, handler, handlers, stores_in_process,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize, Command)]
#[command(name = "app.add.v1", reply = u64, error = Rejection)]
struct Add(u64);

#[derive(Debug, Clone, Serialize, Deserialize, Command)]
#[command(name = "app.pay.v1", reply = String, error = Rejection, idempotent)]
struct Pay {
    cents: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize, Query)]
#[query(name = "app.total.v1", reply = u64)]
struct Total;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
#[event(name = "app.added.v1", key = 0)]
struct Added(u64);

#[derive(Clone, Default)]
struct Ledger {
    total: Arc<Mutex<u64>>,
    seen: Arc<Mutex<Vec<String>>>,
    runs: Arc<AtomicU32>,
}

impl Ledger {
    fn note(&self, line: impl Into<String>) {
        self.seen.lock().unwrap().push(line.into());
    }
    fn seen(&self) -> Vec<String> {
        let mut seen = self.seen.lock().unwrap().clone();
        seen.sort();
        seen
    }
}

#[derive(Service)]
struct Adding {
    ledger: Ledger,
}

#[handlers]
impl Adding {
    #[handler]
    async fn add(&self, Add(n): Add, cx: &Context) -> Outcome<Add> {
        match n {
            0 => Err(Rejection::new("zero", "nothing to add"))?,
            13 => Err(io::Error::other("disk full"))?,
            99 => panic!("ninety-nine"),
            _ => {}
        }
        tokio::task::yield_now().await;
        let mut total = self.ledger.total.lock().unwrap();
        *total += n;
        cx.publish(Added(n));
        Ok(*total)
    }

    #[handler]
    async fn pay(&self, pay: Pay, cx: &Context) -> Outcome<Pay> {
        self.ledger.runs.fetch_add(1, Ordering::SeqCst);
        if pay.cents == 0 {
            Err(Rejection::new("zero", "nothing to pay"))?;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        Ok(format!("{} by {} as {}", pay.cents, cx.node(), cx.id()))
    }

    #[handler]
    async fn total(&self, _: Total) -> Outcome<Total> {
        Ok(*self.ledger.total.lock().unwrap())
    }

    #[handler]
    async fn on_added(&self, Added(n): Added, cx: &Context) -> Handled {
        self.ledger.note(format!("{} {n}", cx.node()));
        Ok(())
    }

    #[handler(group = "billing")]
    async fn bill(&self, Added(n): Added) -> Handled {
        self.ledger.note(format!("billed {n}"));
        Ok(())
    }
}

#[handler(view)]
async fn watch(Added(n): Added, cx: &Context, State(ledger): State<Ledger>) -> Handled {
    ledger.note(format!("{} saw {n}", cx.node()));
    Ok(())
}

fn app(node: &str, bus: &InProcess, ledger: &Ledger) -> App {
    App::new("app").node(node).transport(bus.another_node()).state(ledger.clone()).discover()
}

#[tokio::test]
async fn a_command_runs_on_one_node_and_its_event_reaches_all() {
    let (bus, ledger) = (InProcess::new(), Ledger::default());
    let stores = stores_in_process();
    let mut nodes = Vec::new();
    for node in ["n1", "n2", "n3"] {
        nodes.push(app(node, &bus, &ledger).stores(stores.clone()).start().await.unwrap());
    }
    assert_eq!(nodes[0].mediator().send(Add(5)).await.unwrap(), 5);
    assert_eq!(nodes[1].mediator().query(Total).await.unwrap(), 5);
    bus.bus().settled().await;
    let expected = ["billed 5", "n1 5", "n1 saw 5", "n2 5", "n2 saw 5", "n3 5", "n3 saw 5"];
    assert_eq!(ledger.seen(), expected);
    assert_eq!(bus.bus().published::<Added>(), [Added(5)]);
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test]
async fn refusal_fault_and_panic_are_told_apart() {
    let (bus, ledger) = (InProcess::new(), Ledger::default());
    let node = app("n1", &bus, &ledger).start().await.unwrap();
    let refused = node.mediator().send(Add(0)).await.unwrap_err();
    assert_eq!(refused.rejected().map(|r| r.code.as_str()), Some("zero"));
    let faulted = node.mediator().send(Add(13)).await.unwrap_err();
    assert!(matches!(&faulted, SendError::Faulted(text) if text == "disk full"), "{faulted}");
    assert_eq!(faulted.executed(), Executed::Yes);
    let panicked = node.mediator().send(Add(99)).await.unwrap_err();
    assert!(matches!(&panicked, SendError::Faulted(text) if text.contains("ninety-nine")), "{panicked}");
    assert_eq!(node.mediator().send(Add(1)).await.unwrap(), 1, "the node lives");
}

#[tokio::test(start_paused = true)]
async fn one_key_runs_once_and_every_caller_gets_the_reply() {
    let (bus, ledger) = (InProcess::new(), Ledger::default());
    let stores = stores_in_process();
    let one = app("n1", &bus, &ledger).stores(stores.clone()).start().await.unwrap();
    let two = app("n2", &bus, &ledger).stores(stores).start().await.unwrap();
    let (m1, m2) = (one.mediator(), two.mediator());
    let pay = async |m: &Mediator| m.send(Pay { cents: 7 }).idempotency_key("k1").detailed().await;
    let (a, b) = tokio::join!(pay(&m1), pay(&m2));
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_eq!(a.value, b.value);
    assert!(a.replayed != b.replayed, "one ran, one was told");
    assert_eq!(ledger.runs.load(Ordering::SeqCst), 1);
    let reused = m1.send(Pay { cents: 8 }).idempotency_key("k1").await.unwrap_err();
    assert!(matches!(reused, SendError::KeyReused));
    let refused = async || m2.send(Pay { cents: 0 }).idempotency_key("k2").detailed().await.unwrap_err();
    assert!(!refused().await.replayed);
    assert!(refused().await.replayed, "a refusal is an outcome, too");
    assert_eq!(ledger.runs.load(Ordering::SeqCst), 2);
}

#[derive(Debug, Clone, Serialize, Deserialize, Event)]
#[event(name = "app.flaky.v1", key = key)]
struct Flaky {
    key: String,
    number: u32,
}

#[handler]
async fn flaky(event: Flaky, cx: &Context, State(ledger): State<Ledger>) -> Handled {
    if event.number == 1 && cx.attempt() < 3 || event.number == 100 {
        Err(io::Error::other("not yet"))?;
    }
    ledger.note(format!("{}{}", event.key, event.number));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_failing_key_holds_back_only_its_own_and_ends_with_the_dead_letters() {
    let (bus, ledger) = (InProcess::new(), Ledger::default());
    let node = app("n1", &bus, &ledger).start().await.unwrap();
    for (key, number) in [("a", 1), ("a", 2), ("b", 1), ("c", 5), ("d", 100), ("d", 6)] {
        node.mediator().publish(Flaky { key: key.to_owned(), number }).await.unwrap();
    }
    bus.bus().settled().await;
    let order = ledger.seen.lock().unwrap().clone();
    assert_eq!(order[0], "c5", "nothing stands before it: {order:?}");
    let place = |line: &str| order.iter().position(|l| l == line).unwrap();
    assert!(place("a1") < place("a2"), "{order:?}");
    assert_eq!(order.len(), 5);
    let dead = bus.bus().dead_letters();
    assert_eq!(dead.len(), 1);
    assert_eq!((dead[0].handler.as_str(), dead[0].attempts), ("flaky", Config::default().attempts_max));
    assert_eq!(dead[0].errors, ["not yet"]);
}

#[tokio::test]
async fn a_node_that_comes_back_sees_what_it_missed_and_a_view_sees_everything() {
    let (bus, ledger) = (InProcess::new(), Ledger::default());
    let stores = stores_in_process();
    let start = async |ledger: &Ledger| app("n1", &bus, ledger).stores(stores.clone()).start().await.unwrap();
    let node = start(&ledger).await;
    let other = app("n2", &bus, &Ledger::default()).stores(stores.clone()).start().await.unwrap();
    other.mediator().publish(Added(1)).await.unwrap();
    bus.bus().settled().await;
    node.stop().await;
    other.mediator().publish(Added(2)).await.unwrap();
    bus.bus().settled().await;
    let again = Ledger::default();
    let node = start(&again).await;
    node.ready(Duration::from_secs(5)).await.unwrap();
    bus.bus().settled().await;
    let seen: Vec<_> = again.seen().into_iter().filter(|line| line.starts_with("n1")).collect();
    assert_eq!(seen, ["n1 2", "n1 saw 1", "n1 saw 2"]);
}

#[tokio::test]
async fn delivered_twice_is_handled_once() {
    let (bus, ledger) = (InProcess::new(), Ledger::default());
    bus.bus().faults().deliver_twice(true);
    let node = app("n1", &bus, &ledger).start().await.unwrap();
    node.mediator().publish(Added(3)).await.unwrap();
    bus.bus().settled().await;
    let handled: Vec<_> = ledger.seen().into_iter().filter(|line| !line.contains("saw")).collect();
    assert_eq!(handled, ["billed 3", "n1 3"]);
}

#[tokio::test]
async fn wiring_mistakes_name_every_place() {
    let problems = App::new("app")
        .service(Adding { ledger: Ledger::default() })
        .discover()
        .expects(convoke::catalog!(Add, Flaky))
        .build()
        .unwrap_err();
    let text = problems.to_string();
    assert!(text.contains("`watch` needs a `app::Ledger` for argument 3"), "{text}");
    assert!(!text.contains("no handler for the command `app.add.v1`"), "{text}");
    assert!(text.contains("no handler for the event `app.flaky.v1`"), "{text}");
}

#[tokio::test]
async fn a_notice_drops_readiness_while_the_node_still_works() {
    let (bus, ledger) = (InProcess::new(), Ledger::default());
    let node = app("n1", &bus, &ledger).start().await.unwrap();
    node.ready(Duration::from_secs(5)).await.unwrap();
    node.stop_notice().give();
    assert!(!node.health().await.is_ready());
    assert_eq!(node.mediator().send(Add(2)).await.unwrap(), 2);
}
