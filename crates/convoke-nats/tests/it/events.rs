use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use convoke_core::{Audience, DeadLetter, Settled, Transport as _};
use convoke_testing::{eventually, servers::NatsServer};
use futures_util::StreamExt;

use crate::support::{Recorder, consume, event, node, publish, server, soon, text};

const PLACED: &str = "orders.placed.v1";

#[tokio::test]
async fn every_node_gets_every_event_and_a_group_gets_it_once() {
    let Some(server) = server("fan-out").await else { return };
    let (one, two) = (node(&server.url(), "n1").await, node(&server.url(), "n2").await);
    let nodes = [Recorder::new(), Recorder::new()];
    let groups = [Recorder::new(), Recorder::new()];
    let billing = Audience::Group("billing".to_owned());
    for (n, transport) in [&one, &two].into_iter().enumerate() {
        consume(transport, Audience::Node, &[PLACED], nodes[n].clone()).await;
        consume(transport, billing.clone(), &[PLACED], groups[n].clone()).await;
    }
    publish(&one, PLACED, 0..100).await;
    for seen in &nodes {
        seen.has_seen(100).await;
        let expected: Vec<_> = (0..100).map(|n| n.to_string()).collect();
        assert_eq!(seen.texts(), expected, "once each, in order");
    }
    eventually("the group has all", || async {
        groups.iter().map(|seen| seen.texts().len()).sum::<usize>() >= 100
    })
    .await;
    let mut all: Vec<_> = groups.iter().flat_map(|seen| seen.texts()).collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 100);
    assert_eq!(groups.iter().map(|seen| seen.texts().len()).sum::<usize>(), 100);
}

#[tokio::test]
async fn a_node_gets_what_was_published_while_it_was_down() {
    let Some(server) = server("downtime").await else { return };
    let one = node(&server.url(), "n1").await;
    let two = node(&server.url(), "n2").await;
    let before = Recorder::new();
    consume(&two, Audience::Node, &[PLACED], before.clone()).await;
    publish(&one, PLACED, 0..5).await;
    before.has_seen(5).await;
    two.leave(soon(5)).await;
    two.close(soon(5)).await;
    publish(&one, PLACED, 5..10).await;
    let two = node(&server.url(), "n2").await;
    let after = Recorder::new();
    consume(&two, Audience::Node, &[PLACED], after.clone()).await;
    after.has_seen(5).await;
    assert_eq!(after.texts(), ["5", "6", "7", "8", "9"]);
}

#[tokio::test]
async fn a_view_is_replayed_from_the_beginning_and_told_when_it_has_caught_up() {
    let Some(server) = server("view").await else { return };
    let one = node(&server.url(), "n1").await;
    publish(&one, PLACED, 0..300).await;
    let view = Recorder::settling(|_| {
        Box::pin(async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            Settled::Done
        })
    });
    consume(&one, Audience::View, &[PLACED], view.clone()).await;
    eventually("it has caught up", || async { view.caught_up.load(Ordering::SeqCst) == 1 }).await;
    assert_eq!(view.texts().len(), 300);
    publish(&one, PLACED, 300..310).await;
    view.has_seen(310).await;
    let expected: Vec<_> = (0..310).map(|n| n.to_string()).collect();
    assert_eq!(view.texts(), expected);
    assert_eq!(view.caught_up.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn large_events_come_in_portions() {
    let Some(server) = server("large events").await else { return };
    let one = node(&server.url(), "n1").await;
    let content = "x".repeat(900 * 1024);
    for n in 0..40 {
        one.publish(event(PLACED, &format!("{n} {content}")), soon(10)).await.expect("it is stored");
    }
    let view = Recorder::new();
    consume(&one, Audience::View, &[PLACED], view.clone()).await;
    view.has_seen(40).await; // 36 MB, more than one request may bring
    eventually("it has caught up", || async { view.caught_up.load(Ordering::SeqCst) == 1 }).await;
    let started: Vec<_> = view.texts().iter().map(|text| text.split(' ').next().map(str::to_owned)).collect();
    assert_eq!(started, (0..40).map(|n| Some(n.to_string())).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_event_handed_back_comes_again_at_once() {
    let Some(server) = server("hand back").await else { return };
    let one = node(&server.url(), "n1").await;
    let refusals = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = Arc::clone(&refusals);
    let seen = Recorder::settling(move |_| {
        let first = counted.fetch_add(1, Ordering::SeqCst) == 0;
        Box::pin(async move { if first { Settled::HandBack } else { Settled::Done } })
    });
    consume(&one, Audience::Group("billing".to_owned()), &[PLACED], seen.clone()).await;
    publish(&one, PLACED, 0..1).await;
    eventually("it came again", || async { seen.texts().len() == 2 }).await;
}

#[tokio::test]
async fn a_long_handler_keeps_its_event() {
    let Some(server) = server("progress").await else { return };
    let one = node(&server.url(), "n1").await; // its ack wait is 2 s
    let seen = Recorder::settling(|_| {
        Box::pin(async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            Settled::Done
        })
    });
    consume(&one, Audience::Group("billing".to_owned()), &[PLACED], seen.clone()).await;
    publish(&one, PLACED, 0..1).await;
    seen.has_seen(1).await;
    tokio::time::sleep(Duration::from_millis(2500)).await; // time itself is what is tested: the ack wait has passed
    let client = async_nats::connect(server.url()).await.expect("a client");
    let context = async_nats::jetstream::new(client);
    let stream = context.get_stream("CONVOKE_EVENTS").await.expect("a stream");
    let names: Vec<_> = stream.consumer_names().map(|name| name.expect("a name")).collect().await;
    let reader =
        names.iter().find(|name| name.starts_with("orders__group__billing=01=")).expect("a reader of lane 7");
    let group: async_nats::jetstream::consumer::PullConsumer =
        stream.get_consumer(reader).await.expect("a consumer");
    assert_eq!((group.cached_info().num_ack_pending, group.cached_info().num_redelivered), (1, 0));
    eventually("it is settled", || async { one.leave(soon(10)).await.lost == 0 }).await;
    assert_eq!(seen.texts().len(), 1, "delivered again while it ran");
}

#[tokio::test]
async fn a_message_published_again_is_stored_once() {
    let Some(server) = server("duplicate").await else { return };
    let one = node(&server.url(), "n1").await;
    let message = event(PLACED, "x");
    let first = one.publish(message.clone(), soon(5)).await.expect("it is stored");
    let second = one.publish(message, soon(5)).await.expect("it is known");
    assert_eq!((first.sequence, first.duplicate), (second.sequence, false));
    assert!(second.duplicate);
}

#[tokio::test]
async fn an_events_envelope_and_place_arrive() {
    let Some(server) = server("event envelope").await else { return };
    let one = node(&server.url(), "n1").await;
    let seen = Recorder::new();
    consume(&one, Audience::Node, &[PLACED], seen.clone()).await;
    let mut message = event(PLACED, "x");
    message.envelope.causation = Some(uuid::Uuid::now_v7());
    message.envelope.headers.insert("tenant", "acme").expect("a header");
    let receipt = one.publish(message.clone(), soon(5)).await.expect("it is stored");
    let client = async_nats::connect(server.url()).await.expect("a client");
    client.publish("convoke.evt.03.orders.placed.v1", "foreign".into()).await.expect("sent");
    client.flush().await.expect("flushed");
    seen.has_seen(2).await;
    let seen = seen.seen.lock().expect("not poisoned");
    let position = seen[0].position.expect("it comes from a stream");
    assert_eq!(position.sequence, receipt.sequence);
    assert!(position.epoch > 1_700_000_000_000_000_000, "nanoseconds since 1970: {}", position.epoch);
    assert_eq!(seen[0].envelope.to_text(), message.envelope.to_text());
    assert_eq!(seen[0].envelope.headers.get("tenant"), Some("acme"));
    assert_eq!((&*seen[0].name, &*seen[1].name), (PLACED, PLACED));
    assert_eq!(text(&seen[1].payload), "foreign");
}

#[tokio::test]
async fn a_dead_letter_keeps_the_message_and_what_went_wrong() {
    let Some(server) = server("dead letter").await else { return };
    let one = node(&server.url(), "n1").await;
    let seen = Recorder::new();
    consume(&one, Audience::Node, &[PLACED], seen.clone()).await;
    publish(&one, PLACED, 0..1).await;
    seen.has_seen(1).await;
    let message = seen.seen.lock().expect("not poisoned")[0].clone();
    let letter = DeadLetter {
        message: message.clone(),
        handler: "Orders::on_placed".to_owned(),
        node: "n1".to_owned(),
        errors: vec!["no mail\r\nserver".to_owned(), "refused".to_owned()],
        audience: Audience::Node,
        attempts: 3,
        replays: 0,
        holds: false,
    };
    for _ in 0..2 {
        one.bury(letter.clone(), soon(5)).await.expect("it is stored"); // the second time it is known
    }
    let letters = dead_letters(&server).await;
    assert_eq!(letters.len(), 1);
    let headers = letters[0].headers.clone();
    let header = |name: &str| headers.get(name).map(|value| value.as_str().to_owned()).unwrap_or_default();
    assert_eq!(header("Convoke"), message.envelope.to_text());
    assert_eq!(header("Convoke-Handler"), "Orders::on_placed");
    assert_eq!((header("Convoke-Node"), header("Convoke-Attempts")), ("n1".to_owned(), "3".to_owned()));
    assert_eq!(header("Convoke-Errors"), r#"["no mail\r\nserver","refused"]"#);
    assert_eq!(
        (&*letters[0].subject, &*letters[0].payload),
        ("convoke.dead.orders.orders.placed.v1", &b"0"[..])
    );
}

#[tokio::test]
async fn an_event_with_a_broken_envelope_becomes_a_dead_letter_and_the_next_one_is_handled() {
    let Some(server) = server("broken envelope").await else { return };
    let one = node(&server.url(), "n1").await;
    let seen = Recorder::new();
    consume(&one, Audience::Node, &[PLACED], seen.clone()).await;
    let client = async_nats::connect(server.url()).await.expect("a client");
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Convoke", "1 nonsense");
    client
        .publish_with_headers("convoke.evt.00.orders.placed.v1", headers, "bad".into())
        .await
        .expect("sent");
    client.flush().await.expect("flushed");
    eventually("it lies with the dead letters", || async { dead_letters(&server).await.len() == 1 }).await;
    publish(&one, PLACED, 0..1).await;
    seen.has_seen(1).await;
    assert_eq!(seen.texts(), ["0"]);
}

async fn dead_letters(server: &NatsServer) -> Vec<async_nats::jetstream::message::StreamMessage> {
    let client = async_nats::connect(server.url()).await.expect("a client");
    let stream = async_nats::jetstream::new(client).get_stream("CONVOKE_DEAD").await.expect("a stream");
    let mut letters = Vec::new();
    for sequence in 1..=stream.cached_info().state.last_sequence {
        letters.push(stream.get_raw_message(sequence).await.expect("a letter"));
    }
    letters
}

#[tokio::test]
async fn events_that_come_again_have_their_id_again() {
    let Some(server) = server("stable ids").await else { return };
    let one = node(&server.url(), "n1").await;
    let refusals = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let seen = Recorder::settling(move |_| {
        let first = refusals.fetch_add(1, Ordering::SeqCst) == 0;
        Box::pin(async move { if first { Settled::HandBack } else { Settled::Done } })
    });
    consume(&one, Audience::Node, &[PLACED], seen.clone()).await;
    let client = async_nats::connect(server.url()).await.expect("a client");
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("x-tenant", "acme");
    client
        .publish_with_headers("convoke.evt.00.orders.placed.v1", headers, "foreign".into())
        .await
        .expect("sent");
    client.flush().await.expect("flushed");
    eventually("it came again", || async { seen.texts().len() == 2 }).await;
    let seen = seen.seen.lock().expect("not poisoned");
    assert_eq!(seen[0].envelope.id(), seen[1].envelope.id());
    assert_eq!(seen[0].envelope.headers.get("tenant"), Some("acme"));
}
