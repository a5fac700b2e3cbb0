//! What happens when Redis, or the way to it, breaks.

use std::time::Duration;

use convoke_core::{ClaimStore, Claimed, MarkStore, StoreErrorKind};
use convoke_redis::{Config, Stores};
use convoke_testing::eventually;
use convoke_testing::servers::RedisServer;
use tokio::time::Instant;

use crate::support::{LONG, claim, connect, done, key, own, proxied, works};

const TIMEOUT: Duration = Duration::from_millis(300);
/// What a busy machine may add.
const SLACK: Duration = Duration::from_secs(2);

fn hasty(url: impl Into<String>) -> Config {
    Config::new(url).command_timeout(TIMEOUT).attempt_timeout(TIMEOUT / 3).connect_timeout(TIMEOUT)
}

async fn unavailable_in_time(stores: &Stores) {
    let started = Instant::now();
    let error = stores.claim(&key("away"), claim(LONG)).await.expect_err("nobody answers");
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error}");
    assert!(started.elapsed() < TIMEOUT + SLACK, "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_stopped_server_is_unavailable_within_the_timeout() {
    let test = "a_stopped_server_is_unavailable_within_the_timeout";
    let Some(server) = RedisServer::start_or_skip(test).await else { return };
    let stores = connect(hasty(server.url())).await;
    works(&stores, "before").await;
    server.pause();
    unavailable_in_time(&stores).await;
    server.resume();
    eventually("redis is back", || stores.ping()).await;
    works(&stores, "after").await;
}

#[tokio::test]
async fn a_killed_server_is_unavailable_and_used_again_when_it_is_back() {
    let test = "a_killed_server_is_unavailable_and_used_again_when_it_is_back";
    // with `everysec` a write waits in the process while a sync is under way, and dies with it
    let server = RedisServer::builder().append_only().option("appendfsync", "always");
    let Some(server) = server.start_or_skip(test).await else { return };
    let stores = connect(hasty(server.url())).await;
    let kept = key("kept");
    let holder = own(&stores, &kept, LONG).await;
    server.kill();
    unavailable_in_time(&stores).await;
    server.restart().await.expect("it restarts");
    eventually("redis is back", || stores.ping()).await;
    // The scripts are gone with the process, the claim is not.
    assert!(stores.complete(&kept, holder, done(), LONG).await.expect("the store answers"));
    works(&stores, "after").await;
}

#[tokio::test]
async fn forgotten_scripts_are_sent_again() {
    let test = "forgotten_scripts_are_sent_again";
    let Some(server) = RedisServer::start_or_skip(test).await else { return };
    let stores = connect(Config::new(server.url())).await;
    for round in 0..3 {
        server.ask("SCRIPT FLUSH").await.expect("it can be asked");
        works(&stores, &format!("round-{round}")).await;
        stores.save("m", "x".into(), (round > 0).then_some(round)).await.expect("the store answers");
    }
}

#[tokio::test]
async fn a_call_whose_connection_is_cut_is_repeated() {
    let test = "a_call_whose_connection_is_cut_is_repeated";
    let Some(server) = RedisServer::start_or_skip(test).await else { return };
    let (proxy, url) = proxied(&server).await;
    let stores = connect(Config::new(url).command_timeout(SLACK)).await;
    for round in 0..20 {
        proxy.cut();
        works(&stores, &format!("round-{round}")).await;
    }
    assert!(proxy.connections() > 10, "only {} connections: nothing was cut", proxy.connections());
}

#[tokio::test]
async fn a_call_that_ran_and_lost_its_answer_is_answered_as_the_first_one() {
    let test = "a_call_that_ran_and_lost_its_answer_is_answered_as_the_first_one";
    let Some(server) = RedisServer::start_or_skip(test).await else { return };
    let (proxy, url) = proxied(&server).await;
    let stores = connect(hasty(url)).await;
    works(&stores, "teaches the scripts").await;
    stores.save("m", "first".into(), None).await.expect("the store answers");

    let (key, wish) = (key("k"), claim(LONG));
    proxy.drop_replies();
    assert!(stores.claim(&key, wish).await.is_err(), "its answer was dropped");
    proxy.heal();
    eventually("redis is back", || stores.ping()).await;
    // It ran, and the owner is told so.
    let other = stores.claim(&key, claim(LONG)).await.expect("the store answers");
    assert!(matches!(other, Claimed::Busy { .. }), "{other:?}");
    let again = stores.claim(&key, wish).await.expect("the store answers");
    assert!(matches!(again, Claimed::Owned { attempt: 1, .. }), "{again:?}");
}

#[tokio::test]
async fn a_mark_saved_by_an_attempt_without_an_answer_is_no_conflict() {
    let test = "a_mark_saved_by_an_attempt_without_an_answer_is_no_conflict";
    let Some(server) = RedisServer::start_or_skip(test).await else { return };
    let (proxy, url) = proxied(&server).await;
    let config = Config::new(url).command_timeout(Duration::from_secs(20)).attempt_timeout(TIMEOUT);
    let stores = connect(config).await;
    assert_eq!(stores.save("m", "first".into(), None).await.expect("the store answers"), 1);

    proxy.drop_replies();
    let saving = {
        let stores = stores.clone();
        tokio::spawn(async move { stores.save("m", "second".into(), Some(1)).await })
    };
    let is_saved = async || {
        let records = server.ask("KEYS convoke:*:mark:m").await.expect("it can be asked");
        let record = records.lines().find(|line| line.ends_with(":mark:m")).expect("it is there").to_owned();
        server.ask(&format!("HGET {record} record")).await.expect("it can be asked").contains("second")
    };
    eventually("the mark is saved", is_saved).await;
    proxy.heal();
    assert_eq!(saving.await.expect("no panic").expect("the repeat is answered"), 2);
}

/// Calls on a connection that carries nothing any more, beside a server that is well.
async fn recovers(test: &str, watchdog_timeouts: u32) -> Option<bool> {
    let server = RedisServer::start_or_skip(test).await?;
    let (proxy, url) = proxied(&server).await;
    let stores = connect(hasty(url).watchdog_timeouts(watchdog_timeouts)).await;
    works(&stores, "before").await;
    let connections = proxy.connections();
    proxy.strand();
    // Three times what the watchdog needs.
    for _ in 0..9 {
        if stores.claim(&key("again"), claim(LONG)).await.is_ok() {
            assert!(proxy.connections() > connections, "it went over the dead connection");
            works(&stores, "after").await;
            return Some(true);
        }
    }
    assert_eq!(proxy.connections(), connections, "there is a new connection, and it was not used");
    Some(false)
}

#[tokio::test]
async fn the_watchdog_replaces_a_connection_that_is_open_and_dead() {
    let test = "the_watchdog_replaces_a_connection_that_is_open_and_dead";
    let Some(recovered) = recovers(test, 3).await else { return };
    assert!(recovered, "no call got through");
}

#[tokio::test]
async fn without_the_watchdog_a_dead_connection_is_used_for_ever() {
    let test = "without_the_watchdog_a_dead_connection_is_used_for_ever";
    let Some(recovered) = recovers(test, 0).await else { return };
    assert!(!recovered, "the client reconnects by itself now: the watchdog can go");
}
