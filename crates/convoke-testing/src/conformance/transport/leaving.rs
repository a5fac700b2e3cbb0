//! Nodes that leave, and nodes that are gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use convoke_core::{Answered, Audience, LeaveReport, Transport, TransportErrorKind};
use futures_util::future::join_all;
use tokio::time::Instant;

use super::{
    Fixture, Gate, LATE, Listener, Responder, command, consume, node, numbers, publish, replied, reply,
    request, serve, soon,
};
use crate::{EVENTUALLY_WITHIN, eventually};

/// Callers that ask one request after the other until they are stopped.
#[derive(Debug, Default)]
struct Load {
    stopped: AtomicBool,
    answered: AtomicUsize,
    /// Requests that certainly did not run.
    turned_away: AtomicUsize,
}

impl Load {
    /// Eight callers on one node.
    async fn run(&self, caller: &dyn Transport) {
        join_all((0..8).map(|_| async {
            while !self.stopped.load(Ordering::SeqCst) {
                let counter = match request(caller, command("work")).await {
                    Ok(Answered::Replied { .. }) => &self.answered,
                    Err(error) if certainly_not_run(error.kind()) => &self.turned_away,
                    other => panic!("a caller does not know what became of its request: {other:?}"),
                };
                counter.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
            }
        }))
        .await;
    }

    async fn more_answers(&self, count: usize) {
        let until = self.answered() + count;
        eventually("callers get answers", || async { self.answered() >= until }).await;
    }

    fn answered(&self) -> usize {
        self.answered.load(Ordering::SeqCst)
    }

    fn turned_away(&self) -> usize {
        self.turned_away.load(Ordering::SeqCst)
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }
}

fn certainly_not_run(kind: TransportErrorKind) -> bool {
    matches!(kind, TransportErrorKind::NoHandler | TransportErrorKind::Unavailable)
}

/// Answers after a little work.
fn working() -> Arc<Responder> {
    Responder::answering(|incoming| {
        Box::pin(async {
            tokio::time::sleep(Duration::from_millis(2)).await;
            reply(incoming.payload)
        })
    })
}

/// Leaves with much time, and expects not to need it.
async fn leave(transport: &dyn Transport) -> LeaveReport {
    let started = Instant::now();
    let report = transport.leave(started + EVENTUALLY_WITHIN).await;
    assert!(started.elapsed() < EVENTUALLY_WITHIN / 2, "it took {:?} to leave", started.elapsed());
    report
}

pub async fn a_leaving_member_loses_no_request_under_load<F: Fixture>(fixture: &F) {
    let caller = node(fixture, "caller").await;
    let mut members = Vec::new();
    for name in ["m1", "m2", "m3"] {
        let (member, responder) = (node(fixture, name).await, working());
        serve(&*member, responder.clone()).await;
        members.push((member, responder));
    }
    let load = Load::default();
    let leaving = async {
        for (member, responder) in &members[..2] {
            load.more_answers(100).await;
            let report = leave(&**member).await;
            assert_eq!(report.lost, 0, "{report:?}");
            let runs = responder.seen().len();
            load.more_answers(100).await;
            assert_eq!(responder.seen().len(), runs, "a member that left got more");
        }
        load.stop();
    };
    futures_util::future::join(load.run(&*caller), leaving).await;
    let runs: usize = members.iter().map(|(_, responder)| responder.finished()).sum();
    assert_eq!((runs, load.turned_away()), (load.answered(), 0), "runs and answers, and nobody turned away");
}

pub async fn the_last_member_leaves_and_no_caller_is_left_in_doubt<F: Fixture>(fixture: &F) {
    let (caller, member) = (node(fixture, "caller").await, node(fixture, "member").await);
    let responder = working();
    serve(&*member, responder.clone()).await;
    let load = Load::default();
    let leaving = async {
        load.more_answers(50).await;
        let report = leave(&*member).await;
        assert_eq!(report.lost, 0, "{report:?}");
        eventually("callers are told that nobody is there", || async { load.turned_away() > 0 }).await;
        load.stop();
    };
    futures_util::future::join(load.run(&*caller), leaving).await;
    assert_eq!(responder.finished(), load.answered(), "each run was answered, each answer had a run");
}

pub async fn a_node_leaves_when_what_runs_is_done<F: Fixture>(fixture: &F) {
    let (caller, member) = (node(fixture, "caller").await, node(fixture, "member").await);
    let gate = Gate::closed();
    let (responder, listener) = (Responder::behind(&gate), Listener::behind(&gate));
    serve(&*member, responder.clone()).await;
    consume(&*member, Audience::Node, listener.clone()).await;
    publish(&*caller, ["event"]).await;
    let running = request(&*caller, command("request"));
    let left = AtomicBool::new(false);
    let leaving = async {
        responder.has_seen(1).await;
        listener.has_seen(1).await;
        let report = member.leave(soon()).await;
        left.store(true, Ordering::SeqCst);
        report
    };
    let opening = async {
        responder.has_seen(1).await;
        listener.has_seen(1).await;
        // A request is turned away once the member took itself out; then it waits for what runs.
        let deadline = || Instant::now() + Duration::from_millis(500);
        eventually("the member is out of its group", || async {
            let probe = caller.request(command("probe"), deadline()).await;
            probe.is_err_and(|error| error.kind() == TransportErrorKind::NoHandler)
        })
        .await;
        assert!(!left.load(Ordering::SeqCst), "it left while a request and an event ran");
        gate.open();
    };
    let (answer, report, ()) = futures_util::future::join3(running, leaving, opening).await;
    assert_eq!(replied(answer), "request");
    assert_eq!(report.lost, 0, "{report:?}");
    assert!(report.finished >= 2, "a request and an event: {report:?}");
}

pub async fn a_node_gives_up_at_the_deadline_and_counts_what_it_lost<F: Fixture>(fixture: &F) {
    let (caller, member) = (node(fixture, "caller").await, node(fixture, "member").await);
    let (responder, listener) = (Responder::silent(), Listener::stuck());
    serve(&*member, responder.clone()).await;
    consume(&*member, Audience::Node, listener.clone()).await;
    publish(&*caller, ["event"]).await;
    let asking = tokio::spawn({
        let caller = Arc::clone(&caller);
        async move { request(&*caller, command("request")).await.map(drop) }
    });
    responder.has_seen(1).await;
    listener.has_seen(1).await;
    let (started, patience) = (Instant::now(), Duration::from_secs(1));
    let report = member.leave(started + patience).await;
    let took = started.elapsed();
    assert!((patience..patience + LATE).contains(&took), "it took {took:?} instead of {patience:?}");
    assert_eq!((report.finished, report.lost), (0, 2), "{report:?}");
    asking.abort();
}

pub async fn a_node_that_leaves_does_not_wait_for_others<F: Fixture>(fixture: &F) {
    let (busy, idle) = (node(fixture, "busy").await, node(fixture, "idle").await);
    let stuck = Listener::stuck();
    consume(&*busy, Audience::Node, stuck.clone()).await;
    publish(&*idle, ["event"]).await;
    stuck.has_seen(1).await;
    assert_eq!(leave(&*idle).await, LeaveReport::default());
}

pub async fn a_node_that_left_gets_nothing_more<F: Fixture>(fixture: &F) {
    let (caller, gone) = (node(fixture, "caller").await, node(fixture, "gone").await);
    let (responder, listener) = (Responder::echo(), Listener::done());
    serve(&*gone, responder.clone()).await;
    consume(&*gone, Audience::Node, listener.clone()).await;
    publish(&*caller, ["before"]).await;
    listener.has_seen(1).await;
    leave(&*gone).await;
    nothing_more(&*caller, &responder, &listener).await;
    gone.close(soon()).await;
}

pub async fn after_abandon_nothing_more_is_handed_over<F: Fixture>(fixture: &F) {
    let (caller, gone) = (node(fixture, "caller").await, node(fixture, "gone").await);
    let (responder, listener) = (Responder::echo(), Listener::done());
    serve(&*gone, responder.clone()).await;
    consume(&*gone, Audience::Node, listener.clone()).await;
    publish(&*caller, ["before"]).await;
    listener.has_seen(1).await;
    gone.abandon();
    nothing_more(&*caller, &responder, &listener).await;
}

/// Asks and publishes, and sees that others hear of it and these two do not.
async fn nothing_more(caller: &dyn Transport, responder: &Responder, listener: &Listener) {
    let (requests, events) = (responder.texts(), listener.texts());
    eventually("requests are turned away", || async {
        let deadline = Instant::now() + Duration::from_millis(500);
        let asked = caller.request(command("anybody?"), deadline).await;
        asked.is_err_and(|error| error.kind() == TransportErrorKind::NoHandler)
    })
    .await;
    let witness = Listener::done();
    consume(caller, Audience::Node, witness.clone()).await;
    publish(caller, numbers(0..10)).await;
    witness.has_seen(10).await;
    assert_eq!((responder.texts(), listener.texts()), (requests, events));
}
