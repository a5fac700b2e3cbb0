use std::time::{Duration, Instant};

use convoke_axum::ServeConfig;
use tokio::task::JoinSet;
use tokio::time::interval;

use crate::client::Client;
use crate::server::{PATIENCE, Server};

const SHORT: Duration = Duration::from_millis(300);

/// Ten times what the server under test accepts.
const BODY_BYTES: usize = 10 * 1024 * 1024;

#[tokio::test]
async fn three_hundred_unfinished_heads_are_closed_in_time_while_others_are_served() {
    let server = Server::start(ServeConfig::default().header_timeout(Duration::from_secs(1))).await;
    let mut clients = Vec::new();
    for _ in 0..300 {
        let mut client = Client::connect(server.address).await;
        client.send("GET / HTTP/1.1\r\nhost: a\r\nx-unfinished: ").await;
        clients.push(client);
    }
    let all_sent = Instant::now();
    Client::get(server.address, "/").await.expect_ok("hello");
    let mut closing = JoinSet::new();
    for mut client in clients {
        closing.spawn(async move { client.closed().await });
    }
    Client::get(server.address, "/").await.expect_ok("hello");
    assert_eq!(closing.join_all().await.len(), 300);
    let taken = all_sent.elapsed();
    assert!(taken <= Duration::from_secs(2), "closed after {taken:?}");
    Client::get(server.address, "/").await.expect_ok("hello");
}

#[tokio::test]
async fn a_head_that_trickles_in_is_closed_in_time() {
    let server = Server::start(ServeConfig::default().header_timeout(SHORT)).await;
    let started = Instant::now();
    let mut client = Client::connect(server.address).await;
    client.send("GET / HTTP/1.1\r\nhost: ").await;
    let mut tick = interval(Duration::from_millis(20));
    while client.try_send("a").await.is_ok() {
        assert!(started.elapsed() < PATIENCE, "the server goes on reading");
        tick.tick().await;
    }
    assert!(started.elapsed() >= SHORT);
}

#[tokio::test]
async fn a_second_head_has_the_same_deadline_as_the_first() {
    let config = ServeConfig::default().header_timeout(SHORT).keep_alive_idle(Duration::from_secs(60));
    let server = Server::start(config).await;
    let mut client = Client::connect(server.address).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    client.answer().await.expect_ok("hello");
    let started = Instant::now();
    client.send("GET / HTTP/1.1\r\nhos").await;
    client.closed().await;
    let taken = started.elapsed();
    assert!(taken >= SHORT && taken < SHORT + Duration::from_secs(1), "closed after {taken:?}");
}

#[tokio::test]
async fn an_idle_connection_outlives_the_header_timeout_and_ends_with_its_own() {
    let config = ServeConfig::default()
        .header_timeout(Duration::from_millis(100))
        .keep_alive_idle(Duration::from_millis(600));
    let server = Server::start(config).await;
    let mut client = Client::connect(server.address).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    client.answer().await.expect_ok("hello");
    let started = Instant::now();
    client.closed().await;
    let taken = started.elapsed();
    assert!(taken >= Duration::from_millis(590) && taken < Duration::from_millis(1600), "{taken:?}");
}

#[tokio::test]
async fn a_slow_body_is_cut_although_it_never_pauses() {
    for path in ["/echo", "/swallow"] {
        let server = Server::start(ServeConfig::default().body_timeout(SHORT)).await;
        let mut client = Client::connect(server.address).await;
        let started = Instant::now();
        client.send(format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 10000\r\n\r\n")).await;
        let mut tick = interval(Duration::from_millis(30));
        let answer = loop {
            tokio::select! {
                answer = client.answer() => break answer,
                _ = tick.tick() => {}
            }
            client.send("x").await;
        };
        answer.expect_problem(408);
        let taken = started.elapsed();
        assert!(taken >= SHORT && taken < SHORT + Duration::from_secs(1), "cut after {taken:?}");
    }
}

#[tokio::test]
async fn a_long_body_is_refused_by_its_declared_length() {
    let server = Server::start(ServeConfig::default()).await;
    for path in ["/echo", "/ignore"] {
        let mut client = Client::connect(server.address).await;
        client.send(format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {BODY_BYTES}\r\n\r\n")).await;
        // A client that only listens when it has sent everything must hear the answer too.
        client.send(vec![b'x'; BODY_BYTES]).await;
        client.answer().await.expect_problem(413);
        client.closed().await;
    }
    Client::get(server.address, "/").await.expect_ok("hello");
}

#[tokio::test]
async fn a_long_body_in_chunks_is_refused_by_counting() {
    let server = Server::start(ServeConfig::default()).await;
    for path in ["/echo", "/swallow"] {
        let mut client = Client::connect(server.address).await;
        client.send(format!("POST {path} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")).await;
        let mut chunk = format!("{:x}\r\n", 64 * 1024).into_bytes();
        chunk.extend(vec![b'x'; 64 * 1024]);
        chunk.extend(b"\r\n");
        for _ in 0..BODY_BYTES / (64 * 1024) {
            client.send(&chunk).await;
        }
        client.send("0\r\n\r\n").await;
        client.answer().await.expect_problem(413);
        client.closed().await;
    }
    Client::get(server.address, "/").await.expect_ok("hello");
}

#[tokio::test]
async fn a_body_up_to_the_limit_arrives_whole_also_beyond_two_megabytes() {
    let server = Server::start(ServeConfig::default().body_bytes_max(3_000_000)).await;
    let mut client = Client::connect(server.address).await;
    client.send("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 3000000\r\n\r\n").await;
    client.send(vec![b'x'; 3_000_000]).await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.body.len()), (200, 3_000_000));
}

#[tokio::test]
async fn a_body_nobody_reads_keeps_no_connection() {
    let server = Server::start(ServeConfig::default()).await;
    let mut client = Client::connect(server.address).await;
    client.send("POST /ignore HTTP/1.1\r\nhost: a\r\ncontent-length: 900000\r\n\r\n").await;
    client.answer().await.expect_ok("did not look");
    client.closed().await;
}

#[tokio::test]
async fn too_many_or_too_long_header_lines_are_refused() {
    let server = Server::start(ServeConfig::default().headers_max(8).header_bytes_max(2048)).await;
    let many = "x-a: b\r\n".repeat(9);
    let long = format!("x-a: {}\r\n", "b".repeat(3000));
    for lines in [many, long] {
        let mut client = Client::connect(server.address).await;
        client.send(format!("GET / HTTP/1.1\r\n{lines}\r\n")).await;
        assert_eq!(client.answer().await.status, 431);
        client.closed().await;
    }
    Client::get(server.address, "/").await.expect_ok("hello");
}

#[tokio::test]
async fn one_connection_too_many_is_closed_and_a_free_place_is_given_again() {
    let server = Server::start(ServeConfig::default().connections_max(2)).await;
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut client = Client::connect(server.address).await;
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        client.answer().await.expect_ok("hello");
        kept.push(client);
    }
    Client::connect(server.address).await.closed().await;
    let mut last = kept.pop().expect("two were kept");
    last.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    last.answer().await.expect_ok("hello");
    last.closed().await;
    drop(last);
    let started = Instant::now();
    loop {
        let mut client = Client::connect(server.address).await;
        // Fails while the place is still being cleared.
        let _ = client.try_send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        if let Some(answer) = client.try_answer().await {
            break answer.expect_ok("hello");
        }
        assert!(started.elapsed() < PATIENCE, "the place is never given again");
    }
}

/// The limit on open files belongs to a process, so this test runs itself again in one of its own.
#[cfg(unix)]
#[tokio::test]
async fn a_server_out_of_file_descriptors_serves_again_when_some_are_free() {
    const WITHIN: &str = "CONVOKE_TEST_FEW_FILES";
    if std::env::var_os(WITHIN).is_some() {
        return exhaust_file_descriptors().await;
    }
    let status = tokio::process::Command::new("sh")
        .args(["-c", "ulimit -n 64 && exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().expect("a test knows its own program"))
        .args(["--exact", "limits::a_server_out_of_file_descriptors_serves_again_when_some_are_free"])
        .env(WITHIN, "1")
        .status()
        .await
        .expect("there is a shell");
    assert!(status.success(), "the test in its own process failed");
}

#[cfg(unix)]
async fn exhaust_file_descriptors() {
    let server = Server::start(ServeConfig::default()).await;
    let mut held = Vec::new();
    // Both ends are in this process: when no further socket can be made, none can be accepted either.
    while let Ok(stream) = tokio::net::TcpStream::connect(server.address).await {
        held.push(stream);
        assert!(held.len() < 64, "the limit on open files does not hold");
    }
    drop(held);
    Client::get(server.address, "/").await.expect_ok("hello");
}

#[tokio::test]
async fn a_handler_that_takes_too_long_is_answered_504() {
    let server = Server::start(ServeConfig::default().request_timeout(SHORT)).await;
    let mut client = Client::connect(server.address).await;
    client.send("GET /wait HTTP/1.1\r\nhost: a\r\n\r\n").await;
    client.answer().await.expect_problem(504);
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    client.answer().await.expect_ok("hello");
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_its_answer_is_given_up() {
    let server = Server::start(ServeConfig::default().write_timeout(SHORT).connections_max(1)).await;
    let mut client = Client::connect(server.address).await;
    client.send("GET /big HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let started = Instant::now();
    loop {
        let mut other = Client::connect(server.address).await;
        // Fails while the only place is taken.
        let _ = other.try_send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        if let Some(answer) = other.try_answer().await {
            break answer.expect_ok("hello");
        }
        assert!(started.elapsed() < PATIENCE, "the connection is held for ever");
    }
    assert!(started.elapsed() >= SHORT);
}
