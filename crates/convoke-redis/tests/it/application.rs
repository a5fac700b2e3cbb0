//! The application's own commands over the connection of the stores.

use convoke_core::StoreErrorKind;
use convoke_redis::{Config, Script, redis};
use convoke_testing::eventually;
use convoke_testing::servers::RedisServer;

use crate::support::{connect, proxied};

#[tokio::test]
async fn a_refused_command_or_another_type_is_told() {
    let test = "a_refused_command_or_another_type_is_told";
    let Some(server) = RedisServer::start_or_skip(test).await else { return };
    let connection = connect(Config::new(server.url())).await.connection();
    connection.query::<()>(redis::cmd("SET").arg("app:text").arg("x")).await.expect("redis answers");
    let error = connection.query::<u64>(redis::cmd("INCR").arg("app:text")).await.expect_err("no number");
    assert_eq!(error.kind(), StoreErrorKind::Refused, "{error}");
    let error = connection.query::<u64>(redis::cmd("GET").arg("app:text")).await.expect_err("no number");
    assert_eq!(error.kind(), StoreErrorKind::Refused, "{error}");
}

#[tokio::test]
async fn a_command_runs_once_unless_it_may_be_repeated() {
    let test = "a_command_runs_once_unless_it_may_be_repeated";
    let Some(server) = RedisServer::start_or_skip(test).await else { return };
    let (proxy, url) = proxied(&server).await;
    let connection = connect(Config::new(url)).await.connection();
    let script = Script::new("return redis.call('INCR', KEYS[1])");
    let _: u64 = connection.invoke(&script, &["app:known"], &[]).await.expect("redis answers");

    proxy.drop_replies();
    let error = connection.query::<u64>(redis::cmd("INCR").arg("app:once")).await.expect_err("no answer");
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error}");
    let repeated = connection.repeating().invoke::<u64>(&script, &["app:repeated"], &[]).await;
    assert_eq!(repeated.expect_err("no answer").kind(), StoreErrorKind::Unavailable);
    proxy.heal();

    eventually("redis is back", async || connection.query::<()>(&redis::cmd("PING")).await).await;
    let mut get = redis::cmd("MGET");
    get.arg("app:once").arg("app:repeated");
    let (once, repeated): (u64, u64) = connection.query(&get).await.expect("redis answers");
    assert_eq!(once, 1);
    assert!(repeated > 1, "it was tried {repeated} times");
}

#[tokio::test]
async fn a_script_is_taught_to_a_server_that_does_not_know_it() {
    let test = "a_script_is_taught_to_a_server_that_does_not_know_it";
    let Some(server) = RedisServer::start_or_skip(test).await else { return };
    let connection = connect(Config::new(server.url())).await.connection();
    let script = Script::new("return ARGV[1]");
    for _ in 0..2 {
        let said: String = connection.invoke(&script, &[], &[b"hello"]).await.expect("redis answers");
        assert_eq!(said, "hello");
        server.ask("SCRIPT FLUSH").await.expect("it can be asked");
    }
}
