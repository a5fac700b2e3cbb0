//! What is told at the start, and what is waited for.

use std::time::Duration;

use convoke_core::{ClaimStore, StoreErrorKind};
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
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(!findings[0].is_refusal() && findings[0].to_string().contains("noeviction"), "{findings:?}");
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
