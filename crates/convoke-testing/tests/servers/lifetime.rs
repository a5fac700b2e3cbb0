//! No server outlives its test.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Command, Stdio};

use convoke_testing::eventually;
use convoke_testing::servers::{NatsServer, RedisServer};

const CHILD: &str = "lifetime::the_test_that_is_killed";

fn listens(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[tokio::test]
async fn a_dropped_server_is_gone_also_when_it_was_stopped() {
    let Some(nats) = NatsServer::start_or_skip("a dropped nats-server is gone").await else { return };
    let Some(redis) = RedisServer::start_or_skip("a dropped redis-server is gone").await else { return };
    let ports = [nats.port(), redis.port()];
    assert!(ports.into_iter().all(listens));
    redis.pause();
    drop((nats, redis));
    assert!(!ports.into_iter().any(listens), "drop returns when the process is gone");
}

#[tokio::test]
async fn servers_end_with_a_test_process_that_is_killed() {
    let Some(nats) = NatsServer::start_or_skip("servers end with a killed test process").await else {
        return;
    };
    drop(nats);
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let left = || std::fs::read_dir(directory.path()).expect("it is there").count();
    let mut child = Command::new(std::env::current_exe().expect("a test knows its program"))
        .args([CHILD, "--exact", "--ignored", "--nocapture"])
        .env("TMPDIR", directory.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the test program runs again");
    let lines = BufReader::new(child.stdout.take().expect("its output is piped")).lines();
    let port = lines.map_while(Result::ok).find_map(|line| line.split("port=").nth(1)?.trim().parse().ok());
    let port: u16 = port.expect("the other process tells the port");
    assert!(listens(port), "the server of the other process runs");
    assert_eq!(left(), 1, "it has a directory");
    child.kill().expect("it still runs");
    child.wait().expect("it is our child");
    eventually("the server and its files are gone", || async { !listens(port) && left() == 0 }).await;
}

#[tokio::test]
#[ignore = "run and killed by servers_end_with_a_test_process_that_is_killed"]
async fn the_test_that_is_killed() {
    let Some(nats) = NatsServer::start_or_skip("the test that is killed").await else { return };
    println!("port={}", nats.port());
    // The parent holds the other end, so this ends with the parent if it never comes to the kill.
    std::io::stdin().lines().for_each(drop);
}
