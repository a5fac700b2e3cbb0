//! Commands and queries.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use convoke_core::{Answered, Expiry, Failed, MessageKind, Payload, TransportErrorKind};
use futures_util::future::join_all;
use tokio::time::Instant;

use super::{
    Fixture, Gate, LATE, Responder, command, failed, node, payload, query, replied, reply, request, serve,
    serve_as, soon, text,
};
use crate::eventually;

pub async fn a_request_reaches_one_member_and_its_reply_comes_back<F: Fixture>(fixture: &F) {
    let (caller, member) = (node(fixture, "caller").await, node(fixture, "member").await);
    for kind in [MessageKind::Command, MessageKind::Query] {
        let responder = Responder::echo();
        serve_as(&*member, kind, responder.clone()).await;
        let message = if kind == MessageKind::Command { command("7 apples") } else { query("7 apples") };
        let name = message.name;
        assert_eq!(replied(request(&*caller, message).await), "7 apples");
        let seen = responder.seen();
        assert_eq!(seen.len(), 1, "{kind:?}");
        assert_eq!(&*seen[0].name, name);
        assert!(seen[0].position.is_none(), "a request has no place in a stream");
    }
}

pub async fn a_node_may_ask_itself<F: Fixture>(fixture: &F) {
    let only = node(fixture, "n1").await;
    serve(&*only, Responder::echo()).await;
    assert_eq!(replied(request(&*only, command("alone")).await), "alone");
}

pub async fn a_refusal_and_each_failure_come_back_as_what_they_are<F: Fixture>(fixture: &F) {
    let (caller, member) = (node(fixture, "caller").await, node(fixture, "member").await);
    let responder = Responder::answering(|incoming| {
        let answered = match &*text(&incoming.payload) {
            "refuse" => Answered::Rejected { payload: payload("out of apples"), replayed: false },
            "overloaded" => Answered::Failed(Failed::Overloaded),
            "leader" => Answered::Failed(Failed::NotLeader { leader: Some("n2".into()) }),
            _ => Answered::Failed(Failed::fault("disk full")),
        };
        Box::pin(async { answered })
    });
    serve(&*member, responder).await;
    match request(&*caller, command("refuse")).await {
        Ok(Answered::Rejected { payload, replayed: false }) => assert_eq!(text(&payload), "out of apples"),
        other => panic!("not a refusal: {other:?}"),
    }
    assert!(matches!(failed(request(&*caller, command("overloaded")).await), Failed::Overloaded));
    match failed(request(&*caller, command("leader")).await) {
        Failed::NotLeader { leader } => assert_eq!(leader.as_deref(), Some("n2")),
        other => panic!("not about the leader: {other:?}"),
    }
    match failed(request(&*caller, command("fault")).await) {
        Failed::Faulted(fault) => assert!(fault.to_string().contains("disk full"), "{fault}"),
        other => panic!("not a fault: {other:?}"),
    }
}

pub async fn a_replayed_answer_says_so<F: Fixture>(fixture: &F) {
    let (caller, member) = (node(fixture, "caller").await, node(fixture, "member").await);
    let responder = Responder::answering(|incoming| {
        let replayed = true;
        let answered = match &*text(&incoming.payload) {
            "refuse" => Answered::Rejected { payload: incoming.payload, replayed },
            _ => Answered::Replied { payload: incoming.payload, replayed },
        };
        Box::pin(async { answered })
    });
    serve(&*member, responder).await;
    let refused = request(&*caller, command("refuse")).await;
    assert!(matches!(refused, Ok(Answered::Rejected { replayed: true, .. })), "{refused:?}");
    let replied = request(&*caller, command("reply")).await;
    assert!(matches!(replied, Ok(Answered::Replied { replayed: true, .. })), "{replied:?}");
}

pub async fn a_reply_may_be_empty<F: Fixture>(fixture: &F) {
    let (caller, member) = (node(fixture, "caller").await, node(fixture, "member").await);
    serve(&*member, Responder::answering(|_| Box::pin(async { reply(Payload::empty()) }))).await;
    assert_eq!(replied(request(&*caller, command("anything")).await), "");
}

pub async fn members_share_the_load_and_each_request_runs_once<F: Fixture>(fixture: &F) {
    let caller = node(fixture, "caller").await;
    let mut members = Vec::new();
    for name in ["m1", "m2", "m3"] {
        let (member, responder) = (node(fixture, name).await, Responder::echo());
        serve(&*member, responder.clone()).await;
        members.push((member, responder));
    }
    let texts: Vec<_> = (0..200).map(|n| format!("{n:03}")).collect();
    let answers = join_all(texts.iter().map(|text| request(&*caller, command(text)))).await;
    assert_eq!(answers.into_iter().map(replied).collect::<Vec<_>>(), texts);
    let shares: Vec<_> = members.iter().map(|(_, responder)| responder.texts()).collect();
    assert!(shares.iter().all(|share| !share.is_empty()), "a member got nothing: {shares:?}");
    let mut all: Vec<_> = shares.concat();
    all.sort();
    assert_eq!(all, texts, "each ran once");
}

pub async fn a_request_that_nobody_serves_is_told_so_at_once<F: Fixture>(fixture: &F) {
    let (caller, member) = (node(fixture, "caller").await, node(fixture, "member").await);
    serve_as(&*member, MessageKind::Query, Responder::echo()).await;
    let started = Instant::now();
    let error = request(&*caller, command("anybody?")).await.expect_err("nobody serves it");
    assert_eq!(error.kind(), TransportErrorKind::NoHandler, "{error}");
    assert!(started.elapsed() < LATE, "it took {:?}", started.elapsed());
}

pub async fn a_request_without_an_answer_ends_at_its_deadline<F: Fixture>(fixture: &F) {
    let (caller, member) = (node(fixture, "caller").await, node(fixture, "member").await);
    let responder = Responder::silent();
    serve(&*member, responder.clone()).await;
    let (started, wait) = (Instant::now(), Duration::from_millis(300));
    let error = caller.request(command("hello?"), started + wait).await.expect_err("nobody answers");
    let waited = started.elapsed();
    assert_eq!(error.kind(), TransportErrorKind::TimedOut, "{error}");
    assert!((wait..wait + LATE).contains(&waited), "it waited for {waited:?} instead of {wait:?}");
    assert_eq!(responder.texts(), ["hello?"]);
}

pub async fn a_handler_is_not_cancelled_by_a_caller_who_stops_waiting<F: Fixture>(fixture: &F) {
    let (caller, member) = (node(fixture, "caller").await, node(fixture, "member").await);
    let gate = Gate::closed();
    let responder = Responder::behind(&gate);
    serve(&*member, responder.clone()).await;
    let deadline = Instant::now() + Duration::from_millis(200);
    caller.request(command("gives up"), deadline).await.expect_err("the gate is closed");
    let gone = tokio::spawn({
        let caller = Arc::clone(&caller);
        async move { request(&*caller, command("goes away")).await.map(drop) }
    });
    responder.has_seen(2).await;
    gone.abort();
    assert!(gone.await.expect_err("it was aborted").is_cancelled());
    gate.open();
    eventually("both ran to their end", || async { responder.finished() == 2 }).await;
}

pub async fn a_request_whose_deadline_has_passed_reaches_nobody<F: Fixture>(fixture: &F) {
    let (caller, member) = (node(fixture, "caller").await, node(fixture, "member").await);
    let responder = Responder::echo();
    serve(&*member, responder.clone()).await;
    let late = caller.request(command("too late"), Instant::now()).await;
    assert!(late.is_err(), "{late:?}");
    replied(request(&*caller, command("in time")).await); // what was sent before it came before it
    assert_eq!(responder.texts(), ["in time"]);
}

pub async fn a_request_that_lay_in_a_buffer_is_dropped_or_known_as_stale<F: Fixture>(fixture: &F) {
    let (caller, member) = (node(fixture, "caller").await, node(fixture, "member").await);
    let responder = Responder::echo();
    serve(&*member, responder.clone()).await;
    let now = Expiry::after(Duration::ZERO);
    let long_ago = u64::try_from((2 * Expiry::CLOCK_SKEW_MAX).as_millis()).expect("a minute fits");
    let mut message = command("stale");
    let remaining = Duration::from_millis(500);
    message.envelope.expiry = Some(Expiry { remaining, at_unix_ms: now.at_unix_ms - long_ago });
    drop(caller.request(message, Instant::now() + remaining).await); // whatever it is: nobody waits for it
    replied(request(&*caller, command("fresh")).await);
    let stale: Vec<_> = responder.seen().into_iter().filter(|seen| text(&seen.payload) == "stale").collect();
    let told = stale.iter().all(|seen| seen.envelope.expiry.is_some_and(|expiry| expiry.is_stale()));
    assert!(told, "a stale request came as a fresh one: {stale:?}");
    assert_eq!(responder.texts().last().map(String::as_str), Some("fresh"));
}

pub async fn a_slow_handler_does_not_hold_up_the_next_request<F: Fixture>(fixture: &F) {
    let (caller, member) = (node(fixture, "caller").await, node(fixture, "member").await);
    let gate = Gate::closed();
    let slow = gate.clone();
    let responder = Responder::answering(move |incoming| {
        let slow = slow.clone();
        Box::pin(async move {
            if text(&incoming.payload) == "slow" {
                slow.pass().await;
            }
            reply(incoming.payload)
        })
    });
    serve(&*member, responder.clone()).await;
    let slow = request(&*caller, command("slow"));
    let fast = async {
        responder.has_seen(1).await;
        let answer = replied(request(&*caller, command("fast")).await);
        gate.open();
        answer
    };
    let (slow, fast) = futures_util::future::join(slow, fast).await;
    assert_eq!((replied(slow), fast), ("slow".into(), "fast".into()));
}

pub async fn a_panic_fails_its_caller_and_the_member_goes_on<F: Fixture>(fixture: &F) {
    let (caller, member) = (node(fixture, "caller").await, node(fixture, "member").await);
    let panicked = Arc::new(AtomicBool::new(false));
    let responder = Responder::answering(move |incoming| {
        let first = !panicked.swap(true, Ordering::SeqCst);
        Box::pin(async move {
            assert!(!first, "the handler has a bug");
            reply(incoming.payload)
        })
    });
    serve(&*member, responder).await;
    let started = Instant::now();
    match failed(caller.request(command("first"), soon()).await) {
        Failed::Faulted(_) => {}
        other => panic!("a panic is a fault, and this is {other:?}"),
    }
    assert!(started.elapsed() < LATE, "the caller waited for {:?}", started.elapsed());
    assert_eq!(replied(request(&*caller, command("second")).await), "second");
}

pub async fn a_command_and_a_query_have_their_own_groups<F: Fixture>(fixture: &F) {
    let only = node(fixture, "n1").await;
    let (commands, queries) = (Responder::echo(), Responder::echo());
    serve_as(&*only, MessageKind::Command, commands.clone()).await;
    serve_as(&*only, MessageKind::Query, queries.clone()).await;
    replied(request(&*only, query("what?")).await);
    replied(request(&*only, command("do!")).await);
    assert_eq!(text(&commands.seen()[0].payload), "do!");
    assert_eq!((commands.texts().len(), queries.texts()), (1, vec!["what?".into()]));
}
