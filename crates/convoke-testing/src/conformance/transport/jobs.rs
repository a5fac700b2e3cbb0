//! Enqueued commands: stored until one node has handled them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use convoke_core::{Audience, ConsumeSpec, NodeIdentity, Outgoing, Receipt, Settled, Transport};
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    COMMAND, Fixture, LATE, Listener, OTHER_COMMAND, command, end, envelopes, node, node_as, numbers, soon,
};
use crate::eventually;

/// How long a node that leaves waits for what will never settle.
const IMPATIENCE: Duration = Duration::from_millis(800);
/// How far away a time is that a test waits for.
const DELAY: Duration = Duration::from_millis(1200);

fn job(content: &str) -> Outgoing {
    let mut message = command(content);
    message.envelope.expiry = None; // nobody waits for it
    message
}

async fn enqueue(node: &dyn Transport, message: Outgoing, due: Option<SystemTime>) -> Receipt {
    node.enqueue(message, due, soon()).await.expect("it is stored")
}

/// Stores one after the other.
async fn enqueue_all(node: &dyn Transport, contents: impl IntoIterator<Item: AsRef<str>>) {
    for content in contents {
        enqueue(node, job(content.as_ref()), None).await;
    }
}

async fn handle(node: &dyn Transport, listener: &Arc<Listener>) {
    handle_names(node, &[COMMAND], listener).await;
}

async fn handle_names(node: &dyn Transport, names: &[&'static str], listener: &Arc<Listener>) {
    let spec = ConsumeSpec { audience: Audience::Jobs, names: names.to_vec(), in_flight_max: 64 };
    node.consume(spec, listener.clone()).await.expect("the consumer is attached");
}

fn sorted(listeners: &[&Listener]) -> Vec<String> {
    let mut texts: Vec<_> = listeners.iter().flat_map(|listener| listener.texts()).collect();
    texts.sort();
    texts
}

pub async fn each_job_goes_to_one_node_of_the_service<F: Fixture>(fixture: &F) {
    let (first, second) = (node(fixture, "n1").await, node(fixture, "n2").await);
    let (one, two) = (Listener::done(), Listener::done());
    handle(&*first, &one).await;
    handle(&*second, &two).await;
    enqueue_all(&*first, (0..20).map(|n| format!("{n:02}"))).await;
    enqueue_all(&*second, (20..40).map(|n| format!("{n:02}"))).await;
    let all: Vec<_> = (0..40).map(|n| format!("{n:02}")).collect();
    eventually("all are handled", || async {
        let texts = sorted(&[&one, &two]);
        if texts.len() >= 40 { Ok(()) } else { Err(texts) }
    })
    .await;
    end(&*first).await;
    end(&*second).await;
    assert_eq!(sorted(&[&one, &two]), all, "once each");
}

pub async fn jobs_wait_for_a_node_and_are_gone_when_they_are_settled<F: Fixture>(fixture: &F) {
    let caller = node(fixture, "caller").await;
    enqueue_all(&*caller, numbers(0..5)).await;
    let (first, one) = (node(fixture, "n1").await, Listener::done());
    handle(&*first, &one).await;
    one.has_seen(5).await;
    assert_eq!(one.texts(), numbers(0..5), "in the order in which they were stored");
    end(&*first).await;
    enqueue_all(&*caller, ["5"]).await;
    let (again, two) = (node(fixture, "n1").await, Listener::done());
    handle(&*again, &two).await;
    two.has_seen_text("5").await;
    assert_eq!(two.texts(), ["5"]);
}

pub async fn a_node_gets_the_jobs_it_has_a_handler_for<F: Fixture>(fixture: &F) {
    let other = NodeIdentity { service: "another".into(), ..fixture.identity("n2") };
    let (first, second) = (node(fixture, "n1").await, node_as(fixture, &other).await);
    let (one, two) = (Listener::done(), Listener::done());
    handle(&*first, &one).await;
    handle_names(&*second, &[OTHER_COMMAND], &two).await;
    for n in 0..5 {
        enqueue(&*first, job(&format!("one {n}")), None).await;
        enqueue(&*first, Outgoing { name: OTHER_COMMAND, ..job(&format!("two {n}")) }, None).await;
    }
    one.has_seen(5).await;
    two.has_seen(5).await;
    assert_eq!(one.texts(), (0..5).map(|n| format!("one {n}")).collect::<Vec<_>>());
    assert_eq!(two.texts(), (0..5).map(|n| format!("two {n}")).collect::<Vec<_>>());
    assert!(one.seen().iter().all(|seen| &*seen.name == COMMAND));
    assert!(two.seen().iter().all(|seen| &*seen.name == OTHER_COMMAND));
}

pub async fn a_job_stored_again_under_its_id_is_a_duplicate<F: Fixture>(fixture: &F) {
    let (only, listener) = (node(fixture, "n1").await, Listener::done());
    let due = SystemTime::now() + DELAY;
    for due in [None, Some(due)] {
        let message = job(if due.is_some() { "later" } else { "now" });
        assert!(!enqueue(&*only, message.clone(), due).await.duplicate);
        assert!(enqueue(&*only, message, due).await.duplicate, "due {due:?}");
    }
    handle(&*only, &listener).await;
    listener.has_seen_text("later").await;
    enqueue_all(&*only, ["last"]).await;
    listener.has_seen_text("last").await;
    assert_eq!(listener.texts(), ["now", "later", "last"]);
}

pub async fn a_job_is_handed_over_when_it_is_due_and_not_before<F: Fixture>(fixture: &F) {
    let (caller, only, listener) =
        (node(fixture, "caller").await, node(fixture, "n1").await, Listener::done());
    handle(&*only, &listener).await;
    let (enqueued, started) = (Instant::now(), SystemTime::now());
    enqueue(&*caller, job("later"), Some(started + DELAY)).await;
    enqueue(&*caller, job("now"), Some(started - DELAY)).await;
    listener.has_seen_text("now").await;
    assert!(enqueued.elapsed() < DELAY, "what is overdue does not wait: {:?}", enqueued.elapsed());
    listener.has_seen_text("later").await;
    let seen = listener.seen();
    assert_eq!(listener.texts(), ["now", "later"]);
    let after = seen[1].received - enqueued;
    let early = Duration::from_millis(50); // two clocks
    assert!((DELAY - early..DELAY + LATE).contains(&after), "after {after:?} instead of {DELAY:?}");
    assert_eq!((&*seen[0].name, &*seen[1].name), (COMMAND, COMMAND));
}

pub async fn a_job_that_is_not_due_can_be_taken_back_once<F: Fixture>(fixture: &F) {
    let (caller, only, listener) =
        (node(fixture, "caller").await, node(fixture, "n1").await, Listener::done());
    handle(&*only, &listener).await;
    let due = Some(SystemTime::now() + DELAY);
    let (taken, stays) = (job("taken back"), job("stays"));
    enqueue(&*caller, taken.clone(), due).await;
    enqueue(&*caller, stays.clone(), due.map(|due| due + Duration::from_millis(100))).await;
    let cancel = async |id| caller.cancel(id, soon()).await.expect("it is answered");
    assert!(cancel(taken.envelope.id()).await);
    assert!(!cancel(taken.envelope.id()).await, "there is none any more");
    assert!(!cancel(Uuid::now_v7()).await, "there never was one");
    listener.has_seen_text("stays").await;
    assert!(!cancel(stays.envelope.id()).await, "it was handed over");
    assert_eq!(listener.texts(), ["stays"]);
}

pub async fn a_job_keeps_every_field_of_its_envelope<F: Fixture>(fixture: &F) {
    let (only, listener) = (node(fixture, "n1").await, Listener::done());
    handle(&*only, &listener).await;
    for (n, due) in [None, Some(SystemTime::now() + DELAY)].into_iter().enumerate() {
        let sent = envelopes::full();
        enqueue(&*only, Outgoing { envelope: sent.clone(), ..job("do") }, due).await;
        listener.has_seen(n + 1).await;
        envelopes::assert_same(&sent, &listener.seen()[n].envelope);
    }
}

pub async fn a_job_that_is_handed_back_comes_again_to_whom_can<F: Fixture>(fixture: &F) {
    let (unable, able) = (node(fixture, "n1").await, node(fixture, "n2").await);
    let hands_back = Listener::settling(|_| Box::pin(async { Settled::HandBack }));
    let handles = Listener::done();
    handle(&*unable, &hands_back).await;
    enqueue_all(&*unable, numbers(0..5)).await;
    hands_back.has_seen(1).await;
    handle(&*able, &handles).await;
    eventually("another node handled each", || async {
        let texts = sorted(&[&handles]);
        if texts == numbers(0..5) { Ok(()) } else { Err(texts) }
    })
    .await;
}

pub async fn jobs_that_a_node_leaves_unsettled_go_to_another<F: Fixture>(fixture: &F) {
    let (first, second) = (node(fixture, "n1").await, node(fixture, "n2").await);
    let (stuck, listener) = (Listener::stuck(), Listener::done());
    handle(&*first, &stuck).await;
    enqueue_all(&*second, numbers(0..3)).await;
    enqueue(&*second, job("3"), Some(SystemTime::now() + DELAY)).await;
    stuck.has_seen(4).await;
    handle(&*second, &listener).await;
    let report = first.leave(Instant::now() + IMPATIENCE).await;
    assert_eq!(report.lost, 4, "{report:?}");
    listener.has_seen(4).await;
    assert_eq!(sorted(&[&listener]), numbers(0..4));
}

pub async fn jobs_of_a_node_that_is_gone_go_to_another<F: Fixture>(fixture: &F) {
    let (first, second) = (node(fixture, "n1").await, node(fixture, "n2").await);
    let (stuck, listener) = (Listener::stuck(), Listener::done());
    handle(&*first, &stuck).await;
    enqueue_all(&*second, numbers(0..3)).await;
    stuck.has_seen(3).await;
    handle(&*second, &listener).await;
    first.abandon();
    drop(first);
    listener.has_seen(3).await;
    assert_eq!(sorted(&[&listener]), numbers(0..3));
}
