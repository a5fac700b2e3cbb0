//! What happens when NATS, or the way to it, breaks.

use std::time::Duration;

use convoke_core::{ClaimStore, Claimed, MarkStore, StoreErrorKind};
use convoke_nats::{Stores, StoresConfig};
use convoke_testing::{eventually, proxy::TcpProxy, servers::NatsServer};
use tokio::time::Instant;

use crate::support::{LONG, claim, connect, done, key, own, works};

const TIMEOUT: Duration = Duration::from_millis(400);
/// What a busy machine may add.
const SLACK: Duration = Duration::from_secs(2);

fn hasty() -> StoresConfig {
    StoresConfig::default().timeout(TIMEOUT)
}

async fn proxied(server: &NatsServer) -> (TcpProxy, String) {
    let proxy = TcpProxy::to_port(server.port()).await.expect("a proxy starts");
    let url = format!("nats://{}", proxy.address());
    (proxy, url)
}

async fn unavailable_in_time(stores: &Stores) {
    let started = Instant::now();
    let error = stores.claim(&key("away"), claim(LONG)).await.expect_err("nobody answers");
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error}");
    assert!(started.elapsed() < TIMEOUT + SLACK, "{:?}", started.elapsed());
}

#[tokio::test]
async fn stores_connect_while_the_server_is_away_and_work_when_it_comes() {
    let test = "stores_connect_while_the_server_is_away_and_work_when_it_comes";
    let Some(server) = NatsServer::start_or_skip(test).await else { return };
    server.kill();
    let stores = connect(server.url(), hasty()).await;
    unavailable_in_time(&stores).await;
    let error = stores.load("m").await.expect_err("nobody answers");
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    server.restart().await.expect("it restarts");
    eventually("the store is there", || stores.ping()).await;
    works(&stores, "after").await;
}

#[tokio::test]
async fn a_stopped_server_is_unavailable_within_the_timeout() {
    let test = "a_stopped_server_is_unavailable_within_the_timeout";
    let Some(server) = NatsServer::start_or_skip(test).await else { return };
    let stores = connect(server.url(), hasty()).await;
    works(&stores, "before").await;
    server.pause();
    // a signal takes its time to arrive
    eventually("the server is silent", async || stores.ping().await.is_err()).await;
    unavailable_in_time(&stores).await;
    server.resume();
    eventually("the store is back", || stores.ping()).await;
    works(&stores, "after").await;
}

#[tokio::test]
async fn a_killed_server_keeps_every_claim_outcome_and_mark() {
    let test = "a_killed_server_keeps_every_claim_outcome_and_mark";
    let Some(server) = NatsServer::start_or_skip(test).await else { return };
    let stores = connect(server.url(), hasty()).await;
    let other = connect(server.url(), hasty()).await;
    let (kept, over) = (key("kept"), key("over"));
    let mut mark = None;
    for round in 0..3 {
        works(&stores, &format!("before-{round}")).await;
        mark = Some(stores.save("m", vec![round].into(), mark).await.expect("the store answers"));
        server.kill();
        unavailable_in_time(&stores).await;
        server.restart().await.expect("it restarts");
        eventually("the store is back", || stores.ping()).await;
        let done_before = stores.claim(&key(&format!("before-{round}")), claim(LONG)).await;
        assert_eq!(done_before.expect("the store answers"), Claimed::Done(done()));
    }
    assert_eq!(stores.load("m").await.expect("the store answers"), mark.map(|mark| (vec![2].into(), mark)));

    let holder = own(&stores, &kept, LONG).await;
    let released = own(&stores, &over, LONG).await;
    server.kill();
    server.restart().await.expect("it restarts");
    for stores in [&stores, &other] {
        eventually("the store is back", || stores.ping()).await;
    }
    let busy = other.claim(&kept, claim(LONG)).await.expect("the store answers");
    assert!(matches!(busy, Claimed::Busy { .. }), "{busy:?}");
    assert!(stores.complete(&kept, holder, done(), LONG).await.expect("the store answers"));
    assert_eq!(other.claim(&kept, claim(LONG)).await.expect("the store answers"), Claimed::Done(done()));
    // and fences go on growing
    stores.release(&over, released).await.expect("the store answers");
    assert!(own(&other, &over, LONG).await.fence > released.fence);
}

#[tokio::test]
async fn a_call_whose_connection_is_cut_is_repeated() {
    let test = "a_call_whose_connection_is_cut_is_repeated";
    let Some(server) = NatsServer::start_or_skip(test).await else { return };
    let (proxy, url) = proxied(&server).await;
    let stores = connect(url, StoresConfig::default().timeout(Duration::from_secs(10))).await;
    let before = proxy.connections();
    for round in 0..10 {
        proxy.cut();
        works(&stores, &format!("round-{round}")).await;
    }
    assert!(proxy.connections() > before + 3, "only {} connections: nothing was cut", proxy.connections());
}

#[tokio::test]
async fn a_claim_that_was_stored_and_lost_its_answer_is_answered_as_the_first_one() {
    let test = "a_claim_that_was_stored_and_lost_its_answer_is_answered_as_the_first_one";
    let Some(server) = NatsServer::start_or_skip(test).await else { return };
    let (proxy, url) = proxied(&server).await;
    let stores = connect(url, hasty()).await;
    let direct = connect(server.url(), hasty()).await;
    works(&stores, "declares the bucket").await;

    let (key, wish) = (key("k"), claim(LONG));
    proxy.drop_replies();
    assert!(stores.claim(&key, wish).await.is_err(), "its answer was dropped");
    proxy.heal();
    let other = direct.claim(&key, claim(LONG)).await.expect("the store answers");
    assert!(matches!(other, Claimed::Busy { .. }), "it was not stored: {other:?}");
    eventually("the store is back", || stores.ping()).await;
    let again = stores.claim(&key, wish).await.expect("the store answers");
    assert!(matches!(again, Claimed::Owned { attempt: 1, .. }), "{again:?}");
}

#[tokio::test]
async fn a_completion_and_a_mark_that_lost_their_answers_may_be_repeated() {
    let test = "a_completion_and_a_mark_that_lost_their_answers_may_be_repeated";
    let Some(server) = NatsServer::start_or_skip(test).await else { return };
    let (proxy, url) = proxied(&server).await;
    let stores = connect(url, hasty()).await;
    let direct = connect(server.url(), hasty()).await;
    let key = key("k");
    let holder = own(&stores, &key, LONG).await;
    let version = stores.save("m", "first".into(), None).await.expect("the store answers");

    proxy.drop_replies();
    assert!(stores.complete(&key, holder, done(), LONG).await.is_err(), "its answer was dropped");
    assert!(stores.save("m", "second".into(), Some(version)).await.is_err(), "its answer was dropped");
    proxy.heal();
    assert_eq!(direct.claim(&key, claim(LONG)).await.expect("the store answers"), Claimed::Done(done()));
    let stored = direct.load("m").await.expect("the store answers").expect("it is there");
    assert_eq!(stored.0, "second");

    eventually("the store is back", || stores.ping()).await;
    assert!(stores.complete(&key, holder, done(), LONG).await.expect("the store answers"));
    let saved = stores.save("m", "second".into(), Some(version)).await.expect("the store answers");
    assert_eq!(saved, stored.1);
}
