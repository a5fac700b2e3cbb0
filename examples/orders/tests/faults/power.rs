//! The power of a server fails: with the settings of the profile `strict` it loses nothing it confirmed. The same
//! servers without these settings lose something here, or the tests would show nothing.
use async_nats::jetstream::{self, stream::Config};
use convoke_testing::{
    Disk,
    servers::{NatsBuilder, NatsServer, RedisBuilder, RedisServer},
};

use crate::{
    NATS_ALONE, WITH_REDIS,
    fault::Fault::{FailNatsPower, FailRedisPower},
    run::run,
};

/// What each server is given to keep.
const GIVEN: u64 = 200;

/// JetStream on a disk; synced `"always"`, or every so often.
pub(crate) fn nats_on(disk: &Disk, sync_interval: &str) -> NatsBuilder {
    let store = disk.path().join("nats");
    // Streams reserve more than the disk has, and use little of it.
    let limit = "max_file_store: 1TB";
    let config = format!("jetstream {{ store_dir: {store:?}, {limit}, sync_interval: {sync_interval} }}");
    NatsServer::builder().no_jetstream().config_text(&config)
}

/// Redis with a log on a disk; synced `"always"`, or by itself never.
pub(crate) fn redis_on(disk: &Disk, appendfsync: &str) -> RedisBuilder {
    let directory = format!("{:?}", disk.path());
    RedisServer::builder().append_only().option("appendfsync", appendfsync).option("dir", &directory)
}

/// Confirmed messages that are there after the power failed.
async fn kept_by_nats(test: &str, sync_interval: &str) -> Option<u64> {
    let disk = Disk::new_or_skip(test)?;
    let server = nats_on(&disk, sync_interval).start_or_skip(test).await?;
    let stream = Config { name: "KEPT".into(), subjects: vec!["kept".into()], ..Config::default() };
    let connect = async || async_nats::connect(server.url()).await.expect("it is there");
    let context = jetstream::new(connect().await);
    context.create_stream(stream).await.expect("it takes a stream");
    for n in 0..GIVEN {
        let stored = context.publish("kept", n.to_string().into()).await.expect("it is there");
        stored.await.expect("it confirms");
    }
    server.kill();
    disk.fail();
    server.restart().await.expect("it comes back");
    let context = jetstream::new(connect().await);
    let kept = match context.get_stream("KEPT").await {
        Ok(mut stream) => stream.info().await.expect("it tells").state.messages,
        Err(error) => {
            println!("{test}: not even the stream is there: {error}");
            0
        }
    };
    println!("{test}: {kept} of {GIVEN} messages are there");
    Some(kept)
}

/// Confirmed keys that are there after the power failed.
async fn kept_by_redis(test: &str, appendfsync: &str) -> Option<u64> {
    let disk = Disk::new_or_skip(test)?;
    let server = redis_on(&disk, appendfsync).start_or_skip(test).await?;
    for n in 0..GIVEN {
        let confirmed = server.ask(&format!("SET kept-{n} {n}")).await.expect("it answers");
        assert!(confirmed.contains("OK"), "{confirmed}");
    }
    server.kill();
    disk.fail();
    server.restart().await.expect("it comes back");
    let size = server.ask("DBSIZE").await.expect("it answers");
    println!("{test}: {} of {GIVEN} keys are there", size.trim());
    Some(size.trim().trim_start_matches(':').parse().expect("a number"))
}

#[tokio::test]
async fn a_nats_that_always_syncs_keeps_what_it_confirmed_when_the_power_fails() {
    let test = "a_nats_that_always_syncs_keeps_what_it_confirmed_when_the_power_fails";
    let Some(kept) = kept_by_nats(test, "always").await else { return };
    assert_eq!(kept, GIVEN);
}

#[tokio::test]
async fn a_nats_that_syncs_now_and_then_loses_some_when_the_power_fails() {
    let test = "a_nats_that_syncs_now_and_then_loses_some_when_the_power_fails";
    let Some(kept) = kept_by_nats(test, "\"2m\"").await else { return };
    assert!(kept < GIVEN, "the disk keeps what was never synced: it shows nothing");
}

#[tokio::test]
async fn a_redis_that_always_syncs_keeps_what_it_confirmed_when_the_power_fails() {
    let test = "a_redis_that_always_syncs_keeps_what_it_confirmed_when_the_power_fails";
    let Some(kept) = kept_by_redis(test, "always").await else { return };
    assert_eq!(kept, GIVEN);
}

#[tokio::test]
async fn a_redis_that_never_syncs_loses_some_when_the_power_fails() {
    let test = "a_redis_that_never_syncs_loses_some_when_the_power_fails";
    let Some(kept) = kept_by_redis(test, "no").await else { return };
    assert!(kept < GIVEN, "the disk keeps what was never synced: it shows nothing");
}

#[tokio::test]
async fn nothing_is_lost_when_the_power_of_nats_fails() {
    run("nothing_is_lost_when_the_power_of_nats_fails", WITH_REDIS, &[FailNatsPower]).await;
}

#[tokio::test]
async fn nothing_is_lost_when_the_power_of_a_nats_that_keeps_everything_fails() {
    let test = "nothing_is_lost_when_the_power_of_a_nats_that_keeps_everything_fails";
    run(test, NATS_ALONE, &[FailNatsPower]).await;
}

#[tokio::test]
async fn nothing_is_lost_when_the_power_of_redis_fails() {
    run("nothing_is_lost_when_the_power_of_redis_fails", WITH_REDIS, &[FailRedisPower]).await;
}
