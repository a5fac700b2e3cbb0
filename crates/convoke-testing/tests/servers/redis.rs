use std::time::Duration;

use convoke_testing::eventually;
use convoke_testing::servers::{Certificates, RedisServer};
use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, Client, ClientTlsConfig, RedisResult, TlsCertificates};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(5);

async fn connect(url: String) -> RedisResult<MultiplexedConnection> {
    let client = Client::open(url)?;
    timeout(SOON, client.get_multiplexed_async_connection()).await.expect("a loopback server answers soon")
}

async fn ping(mut connection: MultiplexedConnection) -> RedisResult<String> {
    timeout(SOON, connection.ping()).await.expect("a loopback server answers soon")
}

#[tokio::test]
async fn a_killed_server_comes_back_with_its_log_on_disk_or_empty() {
    for (append_only, expected) in [(true, Some("v")), (false, None)] {
        let builder = RedisServer::builder();
        let builder = if append_only { builder.append_only() } else { builder };
        let Some(redis) = builder.start_or_skip("a killed redis-server comes back").await else { return };
        let (port, pid) = (redis.port(), redis.pid());
        let mut connection = connect(redis.url()).await.expect("it is ready once started");
        let () = connection.set("k", "v").await.expect("stored");

        redis.kill();
        connect(redis.url()).await.expect_err("nobody listens");
        redis.restart().await.expect("it comes back");

        assert_eq!(redis.port(), port);
        assert_ne!(redis.pid(), pid);
        let mut connection = connect(redis.url()).await.expect("it is back");
        let value: Option<String> = connection.get("k").await.expect("it answers");
        assert_eq!(value.as_deref(), expected);
    }
}

#[tokio::test]
async fn a_paused_server_answers_nothing_until_it_is_resumed() {
    let Some(redis) = RedisServer::start_or_skip("a paused redis-server answers nothing").await else {
        return;
    };
    let connection = connect(redis.url()).await.expect("it is ready once started");
    redis.pause();
    let paused = timeout(Duration::from_millis(200), connection.clone().ping::<String>()).await;
    assert!(!matches!(paused, Ok(Ok(_))), "a stopped process does not answer");
    redis.resume();
    eventually("it answers again", || ping(connection.clone())).await;
    assert!(redis.rss_bytes() > 1024 * 1024, "a running server has some memory");
}

#[tokio::test]
async fn users_are_let_in_and_strangers_are_not() {
    let builder = RedisServer::builder().acl_user("orders", "s3cret");
    let Some(redis) = builder.start_or_skip("redis-server users").await else { return };
    let user = connect(redis.url_as("orders", "s3cret")).await.expect("the user is known");
    assert_eq!(ping(user).await.expect("it may"), "PONG");
    connect(redis.url_as("orders", "wrong")).await.expect_err("the password is wrong");
    let stranger = connect(redis.url()).await.expect("anyone may connect");
    ping(stranger).await.expect_err("and may do nothing");

    let redis = RedisServer::builder().password("pass").start().await.expect("the other one started too");
    assert_eq!(
        ping(connect(redis.url_as("", "pass")).await.expect("it is right")).await.expect("it may"),
        "PONG"
    );
    ping(connect(redis.url()).await.expect("anyone may connect")).await.expect_err("and may do nothing");
}

#[tokio::test]
async fn tls_asks_clients_for_a_certificate_when_told_to() {
    let files = Certificates::generate().expect("certificates can be made");
    let read = |path| std::fs::read(path).expect("the file was just written");
    let root_cert = Some(read(files.authority()));
    let known = ClientTlsConfig { client_cert: read(files.client()), client_key: read(files.client_key()) };
    for (verify, client_tls, let_in) in [(true, Some(known), true), (true, None, false), (false, None, true)]
    {
        let builder =
            RedisServer::builder().tls(files.server(), files.server_key(), files.authority(), verify);
        let Some(redis) = builder.start_or_skip("redis-server with TLS").await else { return };
        let certificates = TlsCertificates { client_tls, root_cert: root_cert.clone() };
        let client = Client::build_with_tls(redis.url(), certificates).expect("the PEM files are good");
        let answer =
            timeout(SOON, async { ping(client.get_multiplexed_async_connection().await?).await }).await;
        assert_eq!(answer.expect("a loopback server answers soon").is_ok(), let_in, "verify: {verify}");
    }
}

#[tokio::test]
async fn a_cluster_of_one_owns_every_slot_also_after_a_restart() {
    let Some(redis) = RedisServer::builder().cluster().start_or_skip("redis-server in cluster mode").await
    else {
        return;
    };
    redis.restart().await.expect("it comes back");
    let client = redis::cluster::ClusterClient::new([redis.url()]).expect("the URL is good");
    let mut connection = client.get_async_connection().await.expect("it is ready once started");
    for key in ["a", "b", "{tag}c"] {
        let () = connection.set(key, key).await.expect("every slot is served");
    }
    let mut plain = connect(redis.url()).await.expect("it is ready once started");
    let cross: RedisResult<()> = redis::cmd("DEL").arg(&["a", "b"]).query_async(&mut plain).await;
    assert_eq!(cross.expect_err("two slots in one command").code(), Some("CROSSSLOT"));
}

#[tokio::test]
async fn settings_reach_the_server_and_it_can_be_asked_at_its_own_socket() {
    let builder =
        RedisServer::builder().option("maxmemory-policy", "allkeys-lru").acl_user("orders", "s3cret");
    let Some(redis) = builder.start_or_skip("redis-server settings").await else { return };
    let answer = redis.ask("CONFIG GET maxmemory-policy").await.expect("it answers");
    assert!(answer.contains("allkeys-lru"), "{answer}");
    redis.kill();
    redis.ask("PING").await.expect_err("it is gone");
}
