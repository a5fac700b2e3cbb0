use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    thread,
};

use convoke_testing::servers::{NatsServer, RedisServer};

use crate::process::{Node, refused};

/// The start ends within five seconds with one sentence that holds these, and the exit code 1.
async fn check(arguments: &[&str], expected: &[&str]) {
    let ended = refused(arguments).await;
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert_eq!(ended.complaint.lines().count(), 1, "one sentence: {ended:?}");
    for part in expected {
        assert!(ended.complaint.contains(part), "{part:?} is missing: {ended:?}");
    }
}

#[tokio::test]
async fn refused_credentials_end_the_start() {
    let test = "refused_credentials_end_the_start";
    let Some(nats) = NatsServer::builder().auth_user("orders", "right").start_or_skip(test).await else {
        return;
    };
    let url = nats.url();
    check(&["--nats", &url], &["credentials"]).await;
    let wrong = ["--nats", &url, "--nats-user", "orders", "--nats-password", "wrong"];
    check(&wrong, &["credentials"]).await;
    let right = ["--nats", &url, "--nats-user", "orders", "--nats-password", "right", "--node", "node1"];
    Node::start(&right).await.ready().await;
    let in_the_url = url.replace("nats://", "nats://orders:right@");
    Node::start(&["--nats", &in_the_url, "--node", "node2"]).await.ready().await;
}

#[tokio::test]
async fn a_redis_that_refuses_the_password_ends_the_start() {
    let test = "a_redis_that_refuses_the_password_ends_the_start";
    let Some(nats) = NatsServer::start_or_skip(test).await else { return };
    let Some(redis) = RedisServer::builder().acl_user("orders", "right").start_or_skip(test).await else {
        return;
    };
    let (nats, wrong) = (nats.url(), redis.url_as("orders", "wrong"));
    check(&["--nats", &nats, "--redis", &wrong], &["refuses the user or the password"]).await;
}

#[tokio::test]
async fn a_nats_without_jetstream_ends_the_start() {
    let test = "a_nats_without_jetstream_ends_the_start";
    let Some(nats) = NatsServer::builder().no_jetstream().start_or_skip(test).await else { return };
    check(&["--nats", &nats.url()], &["JetStream"]).await;
}

#[tokio::test]
async fn a_second_node_with_the_id_of_a_living_one_ends_its_start() {
    let test = "a_second_node_with_the_id_of_a_living_one_ends_its_start";
    let Some(nats) = NatsServer::start_or_skip(test).await else { return };
    let first = Node::one("node1", &nats, None).await;
    first.ready().await;
    check(&["--nats", &nats.url(), "--node", "node1"], &["node1"]).await;
    assert_eq!(first.place("k").await.expect("an answer").status, 201, "the first goes on");
}

#[tokio::test]
async fn a_nats_that_is_too_old_ends_the_start() {
    let url = old_nats();
    check(&["--nats", &url], &["2.9.0", "2.12.3"]).await;
}

#[tokio::test]
async fn servers_that_are_less_than_the_profile_asks_for_end_the_start() {
    let test = "servers_that_are_less_than_the_profile_asks_for_end_the_start";
    let Some(nats) = NatsServer::start_or_skip(test).await else { return };
    let evicts = RedisServer::builder().append_only().option("maxmemory-policy", "allkeys-lru");
    let Some(redis) = evicts.start_or_skip(test).await else { return };
    let (nats, redis) = (nats.url(), redis.url());
    check(&["--nats", &nats, "--profile", "ha"], &["not part of a cluster", "`fast`"]).await;
    let both = ["--nats", &nats, "--redis", &redis, "--profile"];
    let told = ["maxmemory-policy is allkeys-lru", "noeviction"];
    check(&[&both[..], &["strict"]].concat(), &[&told[..], &["1 more", "convoke doctor"]].concat()).await;
    check(&[&both[..], &["ha"]].concat(), &told).await;
    let warned = Node::start(&[&both[..], &["fast", "--node", "node1"]].concat()).await;
    warned.ready().await;
    let lines = warned.lines();
    let told = lines.iter().filter(|line| line.contains("WARN") && line.contains("maxmemory-policy")).count();
    assert_eq!(told, 1, "{lines:#?}");
}

#[tokio::test]
async fn a_certificate_that_cannot_be_read_ends_the_start() {
    let test = "a_certificate_that_cannot_be_read_ends_the_start";
    let Some(nats) = NatsServer::start_or_skip(test).await else { return };
    let flags = ["--tls-cert", "missing.crt", "--tls-key", "missing.key"];
    check(&[&["--nats", &nats.url()][..], &flags].concat(), &["missing.crt"]).await;
}

/// What greets like a server of long ago.
fn old_nats() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            thread::spawn(move || greet(client));
        }
    });
    format!("nats://{address}")
}

fn greet(mut client: TcpStream) -> std::io::Result<()> {
    let info = r#"{"server_id":"OLD","server_name":"old","version":"2.9.0","proto":1,"host":"127.0.0.1","port":4222,"headers":true,"max_payload":1048576,"jetstream":true,"client_id":1,"go":"go1.19"}"#;
    write!(client, "INFO {info}\r\n")?;
    let reader = BufReader::new(client.try_clone()?);
    for line in reader.lines() {
        if line?.starts_with("PING") {
            write!(client, "PONG\r\n")?;
        }
    }
    Ok(())
}
