//! The link breaks, stands still, or is not there.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use convoke_core::{Audience, Transport as _, TransportErrorKind, TransportHealth};
use convoke_nats::Transport;
use convoke_testing::{eventually, eventually_within, proxy::TcpProxy};
use futures_util::future::join_all;
use tokio::time::Instant;

use crate::support::{
    Echo, Recorder, Silent, command, config, connect, consume, event, identity, node, publish, replied,
    serve, server, soon, stored, up,
};

const PLACE: &str = "orders.place.v1";
const PLACED: &str = "orders.placed.v1";

#[tokio::test]
async fn a_request_in_flight_fails_at_once_when_the_link_breaks_and_the_next_one_does_not_wait() {
    let Some(server) = server("broken link").await else { return };
    let node = node(&server.url(), "n1").await;
    let silent = Echo::after(Duration::from_secs(60));
    serve(&node, PLACE, silent.clone()).await;
    let caller = Arc::clone(&node);
    let call = tokio::spawn(async move { caller.request(command(PLACE, "x"), soon(60)).await });
    eventually("it is being handled", || async { silent.running.load(Ordering::SeqCst) == 1 }).await;
    server.kill();
    let killed = Instant::now();
    let error = call.await.expect("no panic").expect_err("the link is gone");
    assert_eq!(error.kind(), TransportErrorKind::Disconnected);
    let error = node.request(command(PLACE, "y"), soon(60)).await.expect_err("there is no link");
    assert_eq!(error.kind(), TransportErrorKind::Unavailable);
    let error = node.publish(event(PLACED, "y"), soon(60)).await.expect_err("there is no link");
    assert_eq!(error.kind(), TransportErrorKind::Unavailable);
    assert!(killed.elapsed() < Duration::from_secs(2), "{:?}", killed.elapsed());
}

#[tokio::test]
async fn deadlines_hold_when_the_link_stands_still_and_all_buffers_are_full() {
    let Some(server) = server("full buffers").await else { return };
    let proxy = TcpProxy::to_port(server.port()).await.expect("a proxy");
    let node = node(&format!("nats://127.0.0.1:{}", proxy.port()), "n1").await;
    serve(&node, PLACE, Echo::after(Duration::ZERO)).await;
    assert_eq!(replied(node.request(command(PLACE, "x"), soon(5)).await), "x");
    proxy.blackhole();
    let started = Instant::now();
    let content = "x".repeat(8 * 1024);
    let calls = (0..6000).map(|_| node.request(command(PLACE, &content), started + Duration::from_secs(1)));
    let outcomes = join_all(calls).await;
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    let kinds: Vec<_> = outcomes.into_iter().map(|outcome| outcome.expect_err("no link").kind()).collect();
    let not_sent = kinds.iter().filter(|kind| **kind == TransportErrorKind::Unavailable).count();
    let sent = kinds.iter().filter(|kind| **kind == TransportErrorKind::TimedOut).count();
    assert!(not_sent > 100 && sent > 100, "{not_sent} had no place, {sent} were sent");
    assert_eq!(not_sent + sent, 6000);
    let error = node.publish(event(PLACED, "x"), soon(1)).await.expect_err("no link");
    assert!(
        matches!(
            error.kind(),
            TransportErrorKind::TimedOut | TransportErrorKind::Unavailable | TransportErrorKind::Disconnected
        ),
        "{error}"
    );
}

#[tokio::test]
async fn no_publish_succeeds_on_a_dead_link_and_none_is_lost_or_doubled_when_it_heals() {
    let Some(server) = server("dead link").await else { return };
    let proxy = TcpProxy::to_port(server.port()).await.expect("a proxy");
    let node = node(&format!("nats://127.0.0.1:{}", proxy.port()), "n1").await;
    let seen = Recorder::new();
    consume(&node, Audience::Node, &[PLACED], seen.clone()).await;
    publish(&node, PLACED, 0..1).await;
    proxy.blackhole();
    let dead = join_all((0..100).map(|_| node.publish(event(PLACED, "never"), soon(1)))).await;
    assert!(dead.iter().all(|outcome| outcome.is_err()), "claimed to be stored: {dead:?}");
    // these outlive the outage
    let waiting = tokio::spawn({
        let node = Arc::clone(&node);
        async move {
            join_all((1..101).map(|n| {
                let node = Arc::clone(&node);
                async move { node.publish(event(PLACED, &n.to_string()), soon(20)).await }
            }))
            .await
        }
    });
    eventually("they are on their way", || async { node.calls_waiting() >= 100 }).await;
    proxy.strand(); // what was on its way is gone for good
    proxy.heal();
    let outcomes = waiting.await.expect("no panic");
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    seen.has_seen(101).await;
    let counts = seen.counts();
    // the acknowledgement of the first one may have been lost with the link
    assert!((1..101).all(|n| counts.get(&n.to_string()) == Some(&1)), "{counts:?}");
}

#[tokio::test]
async fn an_event_whose_confirmation_was_lost_is_stored_once() {
    let Some(server) = server("lost confirmation").await else { return };
    let proxy = TcpProxy::to_port(server.port()).await.expect("a proxy");
    let node = node(&format!("nats://{}", proxy.address()), "n1").await;
    publish(&node, PLACED, 0..1).await;
    proxy.drop_replies();
    let publishing = node.publish(event(PLACED, "1"), soon(20));
    let losing = async {
        eventually("it is stored", || async { stored(&server, "CONVOKE_EVENTS").await == 2 }).await;
        proxy.heal();
    };
    let (receipt, ()) = futures_util::future::join(publishing, losing).await;
    let receipt = receipt.expect("it is stored");
    assert_eq!((receipt.sequence, receipt.duplicate), (2, true));
    assert_eq!(stored(&server, "CONVOKE_EVENTS").await, 2);
}

#[tokio::test]
async fn six_thousand_publications_at_once_are_all_stored() {
    let Some(server) = server("many publications").await else { return };
    let node = node(&server.url(), "n1").await;
    let stored = join_all((0..6000).map(|n| node.publish(event(PLACED, &n.to_string()), soon(30)))).await;
    let mut sequences: Vec<_> =
        stored.into_iter().map(|receipt| receipt.expect("it is stored").sequence).collect();
    sequences.sort_unstable();
    sequences.dedup();
    assert_eq!(sequences.len(), 6000);
    assert_eq!(node.calls_waiting(), 0);
}

#[tokio::test]
async fn more_than_the_window_of_unconfirmed_events_waits_until_its_deadline() {
    let Some(server) = server("window").await else { return };
    let proxy = TcpProxy::to_port(server.port()).await.expect("a proxy");
    let url = format!("nats://127.0.0.1:{}", proxy.port());
    let node = Transport::connect_with(config(&url).publish_window(2)).await.expect("a good configuration");
    node.open(&identity("n1")).await.expect("it opens");
    publish(&node, PLACED, 0..10).await;
    proxy.blackhole();
    let deadline = Instant::now() + Duration::from_millis(500);
    let outcomes = join_all((0..5).map(|_| node.publish(event(PLACED, "x"), deadline))).await;
    let kinds: Vec<_> = outcomes.into_iter().map(|outcome| outcome.expect_err("no link").kind()).collect();
    use TransportErrorKind::{TimedOut, Unavailable};
    assert_eq!(kinds, [TimedOut, TimedOut, Unavailable, Unavailable, Unavailable]);
}

#[tokio::test]
async fn consumers_go_on_within_five_seconds_of_a_restart() {
    let Some(server) = server("restart").await else { return };
    let node = node(&server.url(), "n1").await;
    let audiences = [Audience::Node, Audience::Group("billing".to_owned()), Audience::View];
    let mut recorders = Vec::new();
    for audience in audiences {
        let seen = Recorder::new();
        consume(&node, audience, &[PLACED], seen.clone()).await;
        recorders.push(seen);
    }
    let echo = Echo::after(Duration::ZERO);
    serve(&node, PLACE, echo.clone()).await;
    publish(&node, PLACED, 0..20).await;
    for seen in &recorders {
        seen.has_seen(20).await;
    }
    for round in 1..3 {
        server.restart().await.expect("it comes back");
        let back = Instant::now();
        eventually_within(Duration::from_secs(10), "an event is stored", || async {
            node.publish(event(PLACED, &(19 + round).to_string()), soon(2)).await
        })
        .await;
        for seen in &recorders {
            seen.has_seen(20 + round).await;
        }
        up(&node).await;
        assert!(back.elapsed() < Duration::from_secs(5), "after {:?}", back.elapsed());
        assert_eq!(replied(node.request(command(PLACE, "x"), soon(5)).await), "x");
    }
    let view = recorders[2].texts();
    let expected: Vec<_> = (0..22).map(|n| n.to_string()).collect();
    assert_eq!(view, expected, "a view misses nothing and sees nothing twice");
}

#[tokio::test]
async fn a_stream_that_is_gone_is_declared_again_and_read_from_its_start() {
    let Some(server) = server("stream gone").await else { return };
    let node = node(&server.url(), "n1").await;
    let seen = Recorder::new();
    consume(&node, Audience::Node, &[PLACED], seen.clone()).await;
    publish(&node, PLACED, 0..5).await;
    seen.has_seen(5).await;
    let client = async_nats::connect(server.url()).await.expect("a client");
    async_nats::jetstream::new(client).delete_stream("CONVOKE_EVENTS").await.expect("it is deleted");
    publish(&node, PLACED, 5..10).await;
    seen.has_seen(10).await;
    up(&node).await;
    let seen = seen.seen.lock().expect("not poisoned");
    let epochs: Vec<_> = seen.iter().filter_map(|incoming| incoming.position).map(|at| at.epoch).collect();
    assert!(epochs[0] < epochs[9], "another stream has another epoch");
}

#[tokio::test]
async fn a_node_starts_without_a_server_and_is_up_soon_after_it_comes() {
    let Some(server) = server("late server").await else { return };
    server.kill();
    let started = Instant::now();
    let node = connect(&server.url()).await;
    node.open(&identity("n1")).await.expect("a server that is away is no error");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    match node.health() {
        TransportHealth::Down(why) => assert!(why.contains("cannot be reached at nats://127.0.0.1"), "{why}"),
        other => panic!("not down but {other:?}"),
    }
    let (seen, echo) = (Recorder::new(), Echo::after(Duration::ZERO));
    serve(&node, PLACE, echo.clone()).await;
    consume(&node, Audience::Node, &[PLACED], seen.clone()).await;
    server.restart().await.expect("it comes");
    up(&node).await; // within ten seconds
    assert_eq!(replied(node.request(command(PLACE, "x"), soon(5)).await), "x");
    publish(&node, PLACED, 0..3).await;
    seen.has_seen(3).await;
    server.kill();
    eventually("it is down", || async { matches!(node.health(), TransportHealth::Down(_)) }).await;
}

#[tokio::test]
async fn a_dropped_transport_answers_no_more() {
    let Some(server) = server("abandon").await else { return };
    let (one, two) = (node(&server.url(), "n1").await, node(&server.url(), "n2").await);
    serve(&two, PLACE, Arc::new(Silent)).await;
    two.abandon();
    eventually("nobody serves it", || async {
        let outcome = one.request(command(PLACE, "x"), Instant::now() + Duration::from_millis(200)).await;
        outcome.is_err_and(|error| error.kind() == TransportErrorKind::NoHandler)
    })
    .await;
    drop(two);
    node(&server.url(), "n2").await; // its id is free
}
