//! What no node settles: after so many deliveries it lies with the dead letters, and the rest flows on.

use std::{sync::Arc, time::Duration};

use convoke_core::{
    Audience, BoxFuture, DeadLetters as _, Incoming, LANE_UNKEYED, Letter, LetterFilter, Outgoing, Settled,
    Transport as _,
};
use convoke_nats::Transport;
use convoke_testing::{eventually_within, servers::NatsServer};

use crate::support::{Recorder, command, config, consume, event, identity, server, soon, text};

const PLACED: &str = "orders.placed.v1";
const PLACE: &str = "orders.place.v1";
const DELIVERIES_MAX: u32 = 3;

async fn node(server: &NatsServer, name: &str) -> Arc<Transport> {
    let config = config(&server.url()).ack_wait(Duration::from_millis(300)).deliveries_max(DELIVERIES_MAX);
    let transport = Transport::connect_with(config).await.expect("a good configuration");
    transport.open(&identity(name)).await.expect("the node opens");
    Arc::new(transport)
}

/// Ends at poison without settling it, as a node that crashes, and is done with everything else.
fn ends_at_poison() -> Arc<Recorder> {
    Recorder::settling(|incoming: &Incoming| -> BoxFuture<'static, Settled> {
        let poison = text(&incoming.payload) == "poison";
        Box::pin(async move {
            assert!(!poison, "this one ends whoever takes it");
            Settled::Done
        })
    })
}

async fn letters(node: &Transport, count: usize) -> Vec<Letter> {
    let letters = node.dead_letters_of("convoke").expect("a namespace");
    eventually_within(Duration::from_secs(20), "the letters lie there", || async {
        let found = letters.list(&LetterFilter::all(), 0, 100, soon(5)).await.expect("listed").letters;
        if found.len() == count { Ok(found) } else { Err(found.len()) }
    })
    .await
}

/// Messages in a stream.
async fn left_in(server: &NatsServer, stream: &str) -> u64 {
    let client = async_nats::connect(server.url()).await.expect("a client");
    let stream = async_nats::jetstream::new(client).get_stream(stream).await.expect("a stream");
    stream.cached_info().state.messages
}

async fn empty(server: &NatsServer, streams: &[&str]) {
    for stream in streams {
        let what = format!("{stream} is empty");
        eventually_within(Duration::from_secs(10), &what, || async {
            let left = left_in(server, stream).await;
            if left == 0 { Ok(()) } else { Err(left) }
        })
        .await;
    }
}

#[tokio::test]
async fn what_ends_every_node_that_takes_it_becomes_one_dead_letter_and_the_rest_flows_on() {
    let Some(server) = server("poison").await else { return };
    let (one, two) = (node(&server, "n1").await, node(&server, "n2").await);
    let seen: Vec<_> = [(); 4].iter().map(|()| ends_at_poison()).collect();
    let group = Audience::Group("billing".to_owned());
    consume(&one, Audience::Node, &[PLACED], seen[0].clone()).await;
    consume(&one, group.clone(), &[PLACED], seen[1].clone()).await;
    consume(&two, group.clone(), &[PLACED], seen[1].clone()).await;
    consume(&one, Audience::Jobs, &[PLACE], seen[2].clone()).await;
    consume(&two, Audience::Jobs, &[PLACE], seen[2].clone()).await;
    consume(&two, Audience::Node, &[PLACED], seen[3].clone()).await;
    // without a key: the lanes of a group keep their order, and what ends each reader is counted by its claims
    let unkeyed = |content: &str| Outgoing { lane: LANE_UNKEYED, ..event(PLACED, content) };
    one.publish(unkeyed("poison"), soon(5)).await.expect("it is stored");
    one.enqueue(command(PLACE, "poison"), None, soon(5)).await.expect("it is stored");
    let later = std::time::SystemTime::now() + Duration::from_millis(200);
    one.enqueue(command(PLACE, "poison"), Some(later), soon(5)).await.expect("it is stored");
    for n in 0..20 {
        one.publish(unkeyed(&n.to_string()), soon(5)).await.expect("it is stored");
        one.enqueue(command(PLACE, &n.to_string()), None, soon(5)).await.expect("it is stored");
    }
    for recorder in &seen {
        recorder.has_seen(21).await; // the poison, and all the rest
    }
    let found = letters(&one, 5).await;
    let mut whose: Vec<_> = found.iter().map(|found| found.letter.target()).collect();
    whose.sort();
    assert_eq!(whose, ["group.billing", "jobs.all", "jobs.all", "node.n1", "node.n2"]);
    for Letter { letter, service, .. } in &found {
        assert_eq!((text(&letter.message.payload).as_str(), service.as_str()), ("poison", "orders"));
        assert_eq!(letter.attempts, DELIVERIES_MAX);
        assert!(letter.errors[0].contains("delivered 3 times and never settled"), "{:?}", letter.errors);
    }
    empty(&server, &["CONVOKE_JOBS", "CONVOKE_SCHEDULE", "CONVOKE_GIVEN_UP"]).await;
    for recorder in &seen {
        let counts = recorder.counts();
        assert!(counts.iter().all(|(text, count)| text == "poison" || *count == 1), "{counts:?}");
    }
}

#[tokio::test]
async fn what_was_given_up_while_no_node_was_there_to_say_so_becomes_a_dead_letter_later() {
    let Some(server) = server("poison of all").await else { return };
    for run in 0..DELIVERIES_MAX {
        let one = node(&server, "n1").await;
        let stuck = Recorder::settling(|_| Box::pin(std::future::pending()));
        consume(&one, Audience::Jobs, &[PLACE], stuck.clone()).await;
        if run == 0 {
            one.enqueue(command(PLACE, "poison"), None, soon(5)).await.expect("it is stored");
        }
        stuck.has_seen(1).await;
        one.abandon(); // as a process that aborts
    }
    assert_eq!(left_in(&server, "CONVOKE_JOBS").await, 1, "a work queue keeps it");
    let back = node(&server, "n2").await;
    let handles = Recorder::new();
    consume(&back, Audience::Jobs, &[PLACE], handles.clone()).await;
    let found = letters(&back, 1).await;
    empty(&server, &["CONVOKE_JOBS", "CONVOKE_GIVEN_UP"]).await;
    assert!(handles.texts().is_empty(), "nobody else has to take it");
    // and it can come back, now that somebody can handle it
    let letters = back.dead_letters_of("convoke").expect("a namespace");
    assert!(letters.replay(found[0].number, soon(5)).await.expect("it is replayed"));
    handles.has_seen(1).await;
    assert_eq!(handles.texts(), ["poison"]);
    empty(&server, &["CONVOKE_REPLAY"]).await;
}

#[tokio::test]
async fn a_node_that_ends_behind_the_letter_leaves_one_letter_and_no_poison() {
    let Some(server) = server("advisory twice").await else { return };
    let one = node(&server, "n1").await;
    consume(&one, Audience::Jobs, &[PLACE], ends_at_poison()).await;
    one.enqueue(command(PLACE, "poison"), None, soon(5)).await.expect("it is stored");
    letters(&one, 1).await;
    empty(&server, &["CONVOKE_JOBS", "CONVOKE_GIVEN_UP"]).await;
    // the letter was written and the poison not removed: the server tells again, of a message that is still there
    let client = async_nats::connect(server.url()).await.expect("a client");
    let jetstream = async_nats::jetstream::new(client.clone());
    let letter = jetstream.get_stream("CONVOKE_DEAD").await.expect("a stream").get_raw_message(1).await;
    let mut headers = async_nats::HeaderMap::new();
    headers
        .insert("Convoke", letter.expect("a letter").headers.get("Convoke").expect("its envelope").as_str());
    let subject = "convoke.job.07.orders.unhandled.v1";
    let stored = jetstream.publish_with_headers(subject, headers, "poison".into()).await.expect("sent");
    let sequence = stored.await.expect("it is stored").sequence;
    for _ in 0..3 {
        let advisory = format!(
            r#"{{"stream":"CONVOKE_JOBS","consumer":"orders__jobs","stream_seq":{sequence},"deliveries":3}}"#
        );
        let subject = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.CONVOKE_JOBS.orders__jobs";
        client.publish(subject, advisory.into()).await.expect("sent");
    }
    client
        .publish("$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.CONVOKE_JOBS.x", "nonsense".into())
        .await
        .expect("sent");
    client.flush().await.expect("flushed");
    empty(&server, &["CONVOKE_JOBS", "CONVOKE_GIVEN_UP"]).await;
    let found = letters(&one, 2).await; // another name is another letter, and three times the same are one
    assert_eq!(&*found[1].letter.message.name, "orders.unhandled.v1");
}
