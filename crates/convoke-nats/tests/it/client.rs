//! What the client underneath does that we do otherwise: each test has a part that fails without our way, and some
//! show that the client still does it.

use std::{sync::Arc, time::Duration};

use convoke_core::{Transport as _, TransportErrorKind, TransportHealth};
use convoke_testing::{eventually_within, proxy::TcpProxy};
use futures_util::{StreamExt, future::join_all};
use tokio::time::{Instant, timeout};

use crate::support::{Silent, command, event, node, serve, server, soon, up};

const PLACE: &str = "orders.place.v1";
const PLACED: &str = "orders.placed.v1";

/// Requests that time out in the test, and the memory that may stay: the client's own keep 0.7 KB each.
const TIMEOUTS: usize = 60_000;
const KEPT_BYTES_MAX: u64 = 15 * 1024 * 1024;

#[cfg(target_os = "linux")]
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line about memory");
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).expect("a number") * 1024
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn requests_that_time_out_keep_no_memory() {
    let Some(server) = server("memory of timeouts").await else { return };
    let node = node(&server.url(), "n1").await;
    // it never answers, and keeps nothing of what it gets either
    let client = async_nats::connect(server.url()).await.expect("a client");
    let mut deaf = client.subscribe(format!("convoke.cmd.{PLACE}")).await.expect("a subscription");
    client.flush().await.expect("flushed");
    let deaf = tokio::spawn(async move { while deaf.next().await.is_some() {} });
    let time_out = |requests: usize| {
        let node = Arc::clone(&node);
        async move {
            let mut timed_out = 0;
            for _ in 0..requests / 5000 {
                let deadline = Instant::now() + Duration::from_millis(400);
                let outcomes = join_all((0..5000).map(|_| node.request(command(PLACE, "x"), deadline))).await;
                let is_late = |kind| kind == TransportErrorKind::TimedOut;
                timed_out += outcomes.iter().filter(|o| o.as_ref().is_err_and(|e| is_late(e.kind()))).count();
            }
            timed_out
        }
    };
    time_out(20_000).await; // buffers have their size now
    let before = resident_bytes();
    let timed_out = time_out(TIMEOUTS).await;
    let kept = resident_bytes().saturating_sub(before);
    deaf.abort();
    assert!(timed_out > TIMEOUTS / 2, "only {timed_out} were sent and timed out");
    assert!(kept < KEPT_BYTES_MAX, "{kept} bytes are kept of {timed_out} requests");
}

#[tokio::test]
async fn publications_that_were_given_up_hold_up_no_later_one() {
    let Some(server) = server("given up").await else { return };
    let proxy = TcpProxy::to_port(server.port()).await.expect("a proxy");
    let node = node(&format!("nats://{}", proxy.address()), "n1").await;
    proxy.blackhole();
    let given_up = Instant::now() + Duration::from_secs(1);
    let outcomes = join_all((0..6000).map(|_| node.publish(event(PLACED, "x"), given_up))).await;
    assert!(outcomes.iter().all(Result::is_err));
    proxy.strand(); // no confirmation of these will ever come
    proxy.heal();
    up(&node).await;
    let healed = Instant::now();
    node.publish(event(PLACED, "y"), soon(20)).await.expect("it is stored");
    assert!(healed.elapsed() < Duration::from_secs(5), "{:?}", healed.elapsed());
}

#[tokio::test]
async fn the_clients_own_publications_stop_after_five_thousand_that_nobody_awaits() {
    let Some(server) = server("permits").await else { return };
    let node = node(&server.url(), "n1").await;
    let jetstream = node.jetstream();
    let mut unawaited = Vec::new();
    let publish_all = async {
        for _ in 0..5001 {
            let published = jetstream.publish("convoke.evt.64.orders.placed.v1", "x".into()).await;
            unawaited.push(published.expect("it is sent"));
        }
    };
    let all = timeout(Duration::from_secs(5), publish_all).await;
    assert!(all.is_err(), "the client lets them through now: its own publisher could be used");
    assert_eq!(unawaited.len(), 5000);
}

#[tokio::test]
async fn a_link_that_stands_still_is_given_up_after_three_pings() {
    let Some(server) = server("pings").await else { return };
    let proxy = TcpProxy::to_port(server.port()).await.expect("a proxy");
    let node = node(&format!("nats://{}", proxy.address()), "n1").await; // it pings every second
    serve(&node, PLACE, Arc::new(Silent)).await;
    up(&node).await;
    proxy.blackhole();
    eventually_within(Duration::from_secs(6), "it is noticed", || async {
        match node.health() {
            TransportHealth::Down(_) => Ok(()),
            other => Err(other),
        }
    })
    .await;
}
