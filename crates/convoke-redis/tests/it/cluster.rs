//! What is particular to a cluster.

use convoke_core::ClaimStore;
use convoke_redis::{Config, Script, redis};
use convoke_testing::eventually;
use convoke_testing::servers::RedisServer;

use crate::support::{connect, works};

#[tokio::test]
async fn keys_are_spread_over_many_slots_and_each_record_is_in_one() {
    let test = "keys_are_spread_over_many_slots_and_each_record_is_in_one";
    let Some(server) = RedisServer::builder().cluster().start_or_skip(test).await else { return };
    let stores = connect(Config::new(server.url()).cluster()).await;
    for at in 0..200 {
        works(&stores, &format!("k{at}")).await;
    }
    let fences = server.ask("KEYS convoke:*:fence").await.expect("it can be asked");
    let fences = fences.lines().filter(|line| line.starts_with("convoke:{p")).count();
    assert!(fences > 40, "{fences} of 64 partitions were used by 200 keys");
}

#[tokio::test]
async fn a_cluster_that_restarts_is_found_again() {
    let test = "a_cluster_that_restarts_is_found_again";
    let Some(server) = RedisServer::builder().cluster().start_or_skip(test).await else { return };
    let stores = connect(Config::new(server.url()).cluster()).await;
    works(&stores, "before").await;
    server.restart().await.expect("it restarts");
    eventually("the cluster is back", || stores.ping()).await;
    works(&stores, "after").await;
}

#[tokio::test]
async fn an_applications_script_runs_where_its_keys_are() {
    let test = "an_applications_script_runs_where_its_keys_are";
    let Some(server) = RedisServer::builder().cluster().start_or_skip(test).await else { return };
    let connection = connect(Config::new(server.url()).cluster()).await.connection();
    let script = Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
    for at in 1..=3_u64 {
        let count: u64 = connection.invoke(&script, &["app:{x}:n"], &[b"2"]).await.expect("redis answers");
        assert_eq!(count, 2 * at);
    }
    let count: u64 = connection.query(redis::cmd("GET").arg("app:{x}:n")).await.expect("redis answers");
    assert_eq!(count, 6);
}
