//! What is told at the start, and what is waited for.

use std::time::Duration;

use convoke_core::{ClaimStore, Finding, Profile, Severity, StoreErrorKind};
use convoke_redis::{Config, Error, ErrorKind, Stores};
use convoke_testing::eventually;
use convoke_testing::servers::RedisServer;

use crate::support::{connect, proxied, works};

#[track_caller]
fn check(connected: Result<Stores, Error>, kind: ErrorKind, expected: &str) {
    let error = connected.expect_err("this cannot work");
    assert_eq!(error.kind(), kind, "{error}");
    let text = error.to_string();
    assert!(text.contains(expected), "{text}");
    assert!(!text.contains("s3cret") && !text.contains('\n'), "{text}");
}

#[tokio::test]
async fn a_malformed_url_ends_the_start_without_showing_the_password() {
    check(Stores::connect("redis:/u:s3cret@h").await, ErrorKind::Invalid, "URL is malformed");
}

#[tokio::test]
async fn a_server_that_is_away_is_waited_for() {
    let Some(server) = RedisServer::start_or_skip("a_server_that_is_away_is_waited_for").await else {
        return;
    };
    let (proxy, url) = proxied(&server).await;
    proxy.refuse();
    let stores = connect(Config::new(&url)).await;
    let error = stores.ping().await.expect_err("nobody is there");
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error}");
    proxy.heal();
    eventually("redis is back", || stores.ping()).await;
    works(&stores, "back").await;
}

#[tokio::test]
async fn a_cluster_that_is_away_is_waited_for() {
    let test = "a_cluster_that_is_away_is_waited_for";
    let Some(server) = RedisServer::builder().cluster().start_or_skip(test).await else { return };
    server.kill();
    let stores = connect(Config::new(server.url()).cluster()).await;
    let error = stores.ping().await.expect_err("nobody is there");
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error}");
    server.restart().await.expect("it restarts");
    eventually("the cluster is back", || stores.ping()).await;
    works(&stores, "back").await;
}

#[tokio::test]
async fn a_server_that_comes_late_is_still_checked() {
    let test = "a_server_that_comes_late_is_still_checked";
    let Some(server) = RedisServer::builder().cluster().start_or_skip(test).await else { return };
    let (proxy, url) = proxied(&server).await;
    proxy.refuse();
    let stores = connect(Config::new(url)).await;
    proxy.heal();
    let error = eventually("redis is judged", async || match stores.ping().await {
        Err(error) if error.kind() == StoreErrorKind::Refused => Ok(error),
        other => Err(other),
    })
    .await;
    assert!(error.to_string().contains("set `cluster`"), "{error}");
}

#[tokio::test]
async fn a_server_of_the_wrong_kind_ends_the_start() {
    let test = "a_server_of_the_wrong_kind_ends_the_start";
    let Some(cluster) = RedisServer::builder().cluster().start_or_skip(test).await else { return };
    check(Stores::connect(cluster.url()).await, ErrorKind::Unsupported, "set `cluster`");
    let Some(single) = RedisServer::start_or_skip(test).await else { return };
    let config = Config::new(single.url()).cluster();
    check(Stores::connect_with(config).await, ErrorKind::Unsupported, "not part of one");
}

#[tokio::test]
async fn another_number_of_partitions_ends_the_start() {
    let test = "another_number_of_partitions_ends_the_start";
    let Some(server) = RedisServer::start_or_skip(test).await else { return };
    let config = Config::new(server.url());
    connect(config.clone()).await;
    connect(config.clone()).await;
    check(Stores::connect_with(config.clone().partitions(16)).await, ErrorKind::Unsupported, "partitions=64");
    connect(config.partitions(16).key_prefix("other")).await;
}

#[tokio::test]
async fn a_server_that_evicts_is_warned_of() {
    let test = "a_server_that_evicts_is_warned_of";
    let server = RedisServer::builder().option("maxmemory-policy", "allkeys-lru");
    let Some(server) = server.start_or_skip(test).await else { return };
    let stores = connect(Config::new(server.url())).await;
    let findings = stores.check().await.expect("it can be asked");
    let warned =
        |finding: &Finding| finding.severity == Severity::Warning && finding.expected == "noeviction";
    assert!(findings.iter().any(warned), "{findings:?}");
}

#[tokio::test]
async fn a_server_that_never_answers_does_not_hold_up_the_start() {
    let test = "a_server_that_never_answers_does_not_hold_up_the_start";
    let Some(server) = RedisServer::start_or_skip(test).await else { return };
    server.pause();
    let started = tokio::time::Instant::now();
    let config = Config::new(server.url()).connect_timeout(Duration::from_millis(500));
    let stores = connect(config).await;
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    server.resume();
    eventually("redis answers", || stores.ping()).await;
}

#[tokio::test]
async fn a_profile_decides_which_settings_of_a_server_end_the_start() {
    let test = "a_profile_decides_which_settings_of_a_server_end_the_start";
    let server = RedisServer::builder().option("maxmemory-policy", "volatile-lru");
    let Some(server) = server.start_or_skip(test).await else { return };
    let of = |profile| Config::new(server.url()).profile(profile);
    connect(of(Profile::Fast)).await;
    let refused = Stores::connect_with(of(Profile::Ha)).await;
    check(refused, ErrorKind::Unsupported, "maxmemory-policy is volatile-lru, expected is noeviction");
    for (setting, value) in [("maxmemory-policy", "noeviction"), ("appendonly", "yes")] {
        let done = server.ask(&format!("CONFIG SET {setting} {value}")).await.expect("it answers");
        assert!(done.contains("OK"), "{done}");
    }
    connect(of(Profile::Ha)).await;
    let refused = Stores::connect_with(of(Profile::Strict)).await;
    check(refused, ErrorKind::Unsupported, "appendfsync is everysec, expected is always");
    server.ask("CONFIG SET appendfsync always").await.expect("it answers");
    connect(of(Profile::Strict)).await;
}

#[tokio::test]
async fn a_look_at_a_server_writes_nothing() {
    let Some(server) = RedisServer::start_or_skip("a_look_at_a_server_writes_nothing").await else { return };
    let config = Config::new(server.url());
    for _ in 0..2 {
        let findings = convoke_redis::check(&config).await.expect("it can be asked");
        assert!(findings.iter().all(|finding| finding.severity < Severity::Error), "{findings:?}");
    }
    let size = server.ask("DBSIZE").await.expect("it answers");
    assert!(size.contains(":0"), "{size}");
    connect(config.clone()).await;
    let findings = convoke_redis::check(&config.partitions(16)).await.expect("it can be asked");
    let told = |finding: &Finding| finding.is_error() && finding.found.contains("partitions=64");
    assert!(findings.iter().any(told), "{findings:?}");
}

#[tokio::test]
async fn a_user_who_may_not_ask_for_settings_confirms_them() {
    let test = "a_user_who_may_not_ask_for_settings_confirms_them";
    let server =
        RedisServer::builder().append_only().option("user", "limited on >s3cret ~* &* +@all -config");
    let Some(server) = server.start_or_skip(test).await else { return };
    let config = Config::new(server.url_as("limited", "s3cret")).profile(Profile::Strict);
    check(Stores::connect_with(config.clone()).await, ErrorKind::Unsupported, "fsync_confirmed");
    connect(config.fsync_confirmed()).await;
}
