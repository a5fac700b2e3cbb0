use std::{sync::Arc, time::Duration};

use convoke_core::{Answered, Codec, Failed, Incoming, Payload, Transport as _, TransportErrorKind};
use convoke_testing::eventually;
use futures_util::StreamExt;
use tokio::time::Instant;

use crate::support::{
    Answers, Echo, Silent, command, failed, node, payload, replied, serve, server, soon, text,
};

const PLACE: &str = "orders.place.v1";

#[tokio::test]
async fn a_request_reaches_one_member_and_its_reply_comes_back() {
    let Some(server) = server("requests").await else { return };
    let node = node(&server.url(), "n1").await;
    serve(&node, PLACE, Echo::after(Duration::ZERO)).await;
    assert_eq!(replied(node.request(command(PLACE, "one"), soon(5)).await), "one");
}

#[tokio::test]
async fn two_members_share_the_load() {
    let Some(server) = server("two members").await else { return };
    let (one, two) = (node(&server.url(), "n1").await, node(&server.url(), "n2").await);
    let (echo_one, echo_two) = (Echo::after(Duration::ZERO), Echo::after(Duration::ZERO));
    serve(&one, PLACE, echo_one.clone()).await;
    serve(&two, PLACE, echo_two.clone()).await;
    for n in 0..200 {
        let text = n.to_string();
        assert_eq!(replied(one.request(command(PLACE, &text), soon(5)).await), text);
    }
    assert_eq!(echo_one.handled() + echo_two.handled(), 200);
    assert!(
        echo_one.handled() > 20 && echo_two.handled() > 20,
        "{} and {}",
        echo_one.handled(),
        echo_two.handled()
    );
}

#[tokio::test]
async fn nobody_there_and_no_answer_are_told_apart() {
    let Some(server) = server("no handler").await else { return };
    let node = node(&server.url(), "n1").await;
    let started = Instant::now();
    let error = node.request(command(PLACE, "x"), soon(5)).await.expect_err("nobody serves it");
    assert_eq!(error.kind(), TransportErrorKind::NoHandler);
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    serve(&node, PLACE, Arc::new(Silent)).await;
    let deadline = Instant::now() + Duration::from_millis(200);
    let error = node.request(command(PLACE, "x"), deadline).await.expect_err("nobody answers");
    assert_eq!(error.kind(), TransportErrorKind::TimedOut);
}

#[tokio::test]
async fn what_travels_with_a_request_arrives() {
    let Some(server) = server("envelope").await else { return };
    let node = node(&server.url(), "n1").await;
    let show = |incoming: Incoming| {
        let envelope = &incoming.envelope;
        let shown = format!(
            "{} {} {:?} {:?} {}",
            envelope.to_text(),
            incoming.name,
            envelope.traceparent,
            envelope.headers.get("tenant"),
            text(&incoming.payload)
        );
        Answered::Rejected { payload: payload(shown), replayed: true }
    };
    serve(&node, PLACE, Arc::new(Answers(show))).await;
    let mut full = command(PLACE, "full");
    full.envelope.idempotency_key = Some("key-1".into());
    full.envelope.source = Some("n1".into());
    full.envelope.traceparent = Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into());
    full.envelope.headers.insert("tenant", "acme").expect("a header");
    for (message, tenant) in [(command(PLACE, "plain"), "None"), (full, "Some(\"acme\")")] {
        let (sent, trace) = (message.envelope.to_text(), format!("{:?}", message.envelope.traceparent));
        let content = text(&message.payload);
        match node.request(message, soon(5)).await {
            Ok(Answered::Rejected { payload, replayed: true }) => {
                assert_eq!(text(&payload), format!("{sent} {PLACE} {trace} {tenant} {content}"));
            }
            other => panic!("no stored refusal but {other:?}"),
        }
    }
}

#[tokio::test]
async fn json_stays_json_in_both_directions() {
    let Some(server) = server("json").await else { return };
    let node = node(&server.url(), "n1").await;
    serve(&node, PLACE, Echo::after(Duration::ZERO)).await;
    let mut message = command(PLACE, "");
    message.payload = Payload::Bytes { codec: Codec::Json, bytes: "{}".into() };
    match node.request(message, soon(5)).await {
        Ok(Answered::Replied { payload: Payload::Bytes { codec: Codec::Json, bytes }, .. }) => {
            assert_eq!(bytes, "{}")
        }
        other => panic!("no JSON but {other:?}"),
    }
}

#[tokio::test]
async fn a_client_that_knows_nothing_of_us_gets_an_answer() {
    let Some(server) = server("foreign client").await else { return };
    let node = node(&server.url(), "n1").await;
    serve(&node, PLACE, Echo::after(Duration::ZERO)).await;
    let client = async_nats::connect(server.url()).await.expect("a client");
    let answer = client.request("convoke.cmd.orders.place.v1", "hello".into()).await.expect("an answer");
    assert_eq!((&*answer.payload, answer.headers), (&b"hello"[..], None));
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Convoke", "nonsense");
    let answer = client.request_with_headers("convoke.cmd.orders.place.v1", headers, "hello".into()).await;
    let headers = answer.expect("an answer").headers.expect("a status");
    assert_eq!(headers.get("Convoke-Status").map(|value| value.as_str()), Some("failed"));
}

#[tokio::test]
async fn a_handler_that_panics_answers_and_the_next_request_is_served() {
    let Some(server) = server("panic").await else { return };
    let node = node(&server.url(), "n1").await;
    let panics = |incoming: Incoming| match text(&incoming.payload).as_str() {
        "boom" => panic!("boom"),
        _ => Answered::Replied { payload: incoming.payload, replayed: false },
    };
    serve(&node, PLACE, Arc::new(Answers(panics))).await;
    let failed = failed(node.request(command(PLACE, "boom"), soon(5)).await);
    assert!(matches!(&failed, Failed::Faulted(fault) if fault.to_string().contains("boom")), "{failed:?}");
    assert_eq!(replied(node.request(command(PLACE, "fine"), soon(5)).await), "fine");
}

#[tokio::test]
async fn what_is_too_large_is_told_to_the_caller() {
    let Some(server) = server("too large").await else { return };
    let node = node(&server.url(), "n1").await;
    let grows = |incoming: Incoming| match text(&incoming.payload).as_str() {
        "grow" => Answered::Replied { payload: payload(vec![0_u8; 2 * 1024 * 1024]), replayed: false },
        _ => Answered::Replied { payload: incoming.payload, replayed: false },
    };
    serve(&node, PLACE, Arc::new(Answers(grows))).await;
    let large = command(PLACE, &"x".repeat(2 * 1024 * 1024));
    let error = node.request(large, soon(5)).await.expect_err("more than the server takes");
    assert_eq!(error.kind(), TransportErrorKind::TooLarge);
    let failed = failed(node.request(command(PLACE, "grow"), soon(5)).await);
    assert!(failed.to_string().contains("max_payload"), "{failed}");
}

#[tokio::test]
async fn ten_thousand_timeouts_leave_nothing_behind() {
    let Some(server) = server("leak").await else { return };
    let node = node(&server.url(), "n1").await;
    serve(&node, PLACE, Arc::new(Silent)).await;
    let before = node.calls_waiting();
    let deadline = Instant::now() + Duration::from_millis(800);
    let timed_out = futures_util::stream::iter(0..10_000)
        .map(|_| node.request(command(PLACE, "x"), deadline))
        .buffer_unordered(10_000)
        .filter(|outcome| {
            std::future::ready(outcome.as_ref().is_err_and(|e| e.kind() == TransportErrorKind::TimedOut))
        })
        .count()
        .await;
    assert!(timed_out > 9_000, "only {timed_out} requests were sent and timed out");
    eventually("nothing waits", || async { node.calls_waiting() <= before }).await;
}
