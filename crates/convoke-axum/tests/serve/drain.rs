use std::time::{Duration, Instant};

use convoke_axum::ServeConfig;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::Client;
use crate::server::{PATIENCE, Server, drained};

#[tokio::test]
async fn a_drain_finishes_what_is_in_flight_and_closes_what_is_idle_at_once() {
    let server = Server::start(ServeConfig::default().drain_timeout(PATIENCE)).await;
    let (address, shared) = (server.address, server.shared.clone());
    let mut idle = Client::connect(address).await;
    idle.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    idle.answer().await.expect_ok("hello");
    let mut waiting = Client::connect(address).await;
    waiting.send("GET /wait HTTP/1.1\r\nhost: a\r\n\r\n").await;
    timeout(PATIENCE, shared.entered.notified()).await.expect("the request is in flight");

    let started = Instant::now();
    let running = server.begin_shutdown();
    idle.closed().await;
    assert!(started.elapsed() < Duration::from_secs(1), "an idle connection was kept");
    assert!(TcpStream::connect(address).await.is_err(), "the server still listens");
    assert!(!running.is_finished(), "the server did not wait for its request");

    shared.leave.notify_one();
    let answer = waiting.answer().await;
    answer.expect_ok("waited");
    assert!(answer.head.contains("connection: close"), "{}", answer.head);
    waiting.closed().await;
    let drained = drained(running).await;
    assert_eq!((drained.finished, drained.aborted), (1, 0));
}

#[tokio::test]
async fn a_request_that_outlives_the_drain_is_cut_and_counted() {
    let drain_timeout = Duration::from_millis(300);
    let server = Server::start(ServeConfig::default().drain_timeout(drain_timeout)).await;
    let shared = server.shared.clone();
    let mut waiting = Client::connect(server.address).await;
    waiting.send("GET /wait HTTP/1.1\r\nhost: a\r\n\r\n").await;
    timeout(PATIENCE, shared.entered.notified()).await.expect("the request is in flight");

    let started = Instant::now();
    let drained = server.shut_down().await;
    let taken = started.elapsed();
    assert_eq!((drained.finished, drained.aborted), (0, 1));
    assert!(taken >= drain_timeout && taken < drain_timeout + Duration::from_secs(1), "{taken:?}");
    waiting.closed().await;
}

#[tokio::test]
async fn an_answer_cut_on_its_way_out_is_counted_as_aborted() {
    let server = Server::start(ServeConfig::default().drain_timeout(Duration::from_millis(300))).await;
    let mut client = Client::connect(server.address).await;
    client.send("GET /big HTTP/1.1\r\nhost: a\r\n\r\n").await;
    client.something_came().await;
    let drained = server.shut_down().await;
    assert_eq!((drained.finished, drained.aborted), (0, 1));
}

#[tokio::test]
async fn a_client_that_leaves_during_the_drain_is_counted_as_aborted() {
    let server = Server::start(ServeConfig::default().drain_timeout(PATIENCE)).await;
    let shared = server.shared.clone();
    let mut waiting = Client::connect(server.address).await;
    waiting.send("GET /wait HTTP/1.1\r\nhost: a\r\n\r\n").await;
    timeout(PATIENCE, shared.entered.notified()).await.expect("the request is in flight");
    let mut idle = Client::connect(server.address).await;
    idle.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    idle.answer().await.expect_ok("hello");

    let running = server.begin_shutdown();
    idle.closed().await;
    drop(waiting);
    let drained = drained(running).await;
    assert_eq!((drained.finished, drained.aborted), (0, 1));
}

#[tokio::test]
async fn a_server_without_connections_drains_at_once() {
    let server = Server::start(ServeConfig::default().drain_timeout(PATIENCE)).await;
    let _silent = Client::connect(server.address).await;
    let started = Instant::now();
    let drained = server.shut_down().await;
    assert_eq!((drained.finished, drained.aborted), (0, 0));
    assert!(started.elapsed() < Duration::from_secs(1), "a connection without a request was waited for");
}

#[tokio::test]
async fn a_server_whose_future_is_dropped_leaves_no_connection_behind() {
    let server = Server::start(ServeConfig::default()).await;
    let (address, shared) = (server.address, server.shared.clone());
    let mut waiting = Client::connect(address).await;
    waiting.send("GET /wait HTTP/1.1\r\nhost: a\r\n\r\n").await;
    timeout(PATIENCE, shared.entered.notified()).await.expect("the request is in flight");
    server.drop_future().await;
    waiting.closed().await;
    assert!(TcpStream::connect(address).await.is_err(), "the server still listens");
}

#[tokio::test]
async fn during_the_delay_all_is_answered_and_each_answer_ends_its_connection() {
    let delay = Duration::from_millis(1500);
    let config = ServeConfig::default().drain_delay(delay).drain_timeout(PATIENCE);
    let server = Server::start(config).await;
    let address = server.address;
    let (mut asks, mut idle) = (Client::connect(address).await, Client::connect(address).await);
    for client in [&mut asks, &mut idle] {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let answer = client.answer().await;
        answer.expect_ok("hello");
        assert!(!answer.head.contains("connection: close"), "{}", answer.head);
    }

    let started = Instant::now();
    let running = server.begin_shutdown();
    // A request may still be on its way on an open connection, and a new one is not refused.
    let mut late = Client::connect(address).await;
    for client in [&mut asks, &mut late] {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let answer = client.answer().await;
        answer.expect_ok("hello");
        assert!(answer.head.contains("connection: close"), "{}", answer.head);
        client.closed().await;
    }
    assert!(started.elapsed() < delay, "too slow a machine to tell");
    idle.closed().await;
    assert!(started.elapsed() >= delay, "an idle connection was closed too early");
    assert!(TcpStream::connect(address).await.is_err(), "the server still listens");
    drained(running).await;
}
