//! Who waits for an outcome is woken up.

use std::time::Duration;

use convoke_core::ClaimStore;
use convoke_redis::{Config, Stores};
use convoke_testing::eventually;
use convoke_testing::servers::RedisServer;
use tokio::time::{Instant, timeout};

use crate::support::{LONG, connect, done, key, own, proxied};

const SOON: Duration = Duration::from_secs(5);

/// Waits on `waits` for what `runs` completes.
pub(crate) async fn a_waiter_finds_out(runs: &Stores, waits: &Stores) {
    let key = key("waited-for");
    let holder = own(runs, &key, LONG).await;
    let waiter = {
        let (waits, key) = (waits.clone(), key.clone());
        tokio::spawn(async move { waits.changed(&key, LONG).await })
    };
    assert!(runs.complete(&key, holder, done(), LONG).await.expect("the store answers"));
    timeout(SOON, waiter).await.expect("the waiter returns soon").expect("the waiter does not panic");
}

/// Nobody looks by himself here, so only a wake-up can end the wait.
async fn check_wake_up(server: &RedisServer, config: Config, name: &str, between: impl AsyncFnOnce()) {
    let config = config.poll_interval(Duration::from_secs(1000));
    let (runs, waits) = (connect(config.clone()).await, connect(config).await);
    let key = key(name);
    let holder = own(&runs, &key, LONG * 60).await;
    let waiter = {
        let (waits, key) = (waits.clone(), key.clone());
        tokio::spawn(async move { waits.changed(&key, LONG).await })
    };
    let is_noted = async || {
        let keys = server.ask("KEYS convoke:*claim*").await.expect("it can be asked");
        let record = keys.lines().find(|line| line.ends_with(name)).expect("the record is there").to_owned();
        server.ask(&format!("HEXISTS {record} waited")).await.expect("it can be asked").starts_with(":1")
    };
    eventually("the waiter is noted", is_noted).await;
    between().await;
    let completed = Instant::now();
    assert!(runs.complete(&key, holder, done(), LONG).await.expect("the store answers"));
    timeout(SOON, waiter).await.expect("a wake-up comes").expect("the waiter does not panic");
    assert!(completed.elapsed() < SOON);
}

#[tokio::test]
async fn a_wake_up_comes_without_looking() {
    let test = "a_wake_up_comes_without_looking";
    let Some(server) = RedisServer::start_or_skip(test).await else { return };
    check_wake_up(&server, Config::new(server.url()), "k", async || {}).await;
}

#[tokio::test]
async fn a_wake_up_comes_without_looking_in_a_cluster() {
    let test = "a_wake_up_comes_without_looking_in_a_cluster";
    let Some(server) = RedisServer::builder().cluster().start_or_skip(test).await else { return };
    check_wake_up(&server, Config::new(server.url()).cluster(), "k", async || {}).await;
}

#[tokio::test]
async fn wake_ups_come_again_after_a_lost_connection() {
    let test = "wake_ups_come_again_after_a_lost_connection";
    let Some(server) = RedisServer::start_or_skip(test).await else { return };
    let (proxy, url) = proxied(&server).await;
    check_wake_up(&server, Config::new(url), "k", async || {
        proxy.cut();
        eventually("both subscribe again", async || {
            let count = server.ask("PUBSUB NUMSUB convoke:changed").await.expect("it can be asked");
            proxy.connections() > 4 && count.trim_end().ends_with(":1")
        })
        .await;
    })
    .await;
}
