use std::sync::atomic::Ordering;

use convoke_axum::ServeConfig;

use crate::client::Client;
use crate::server::Server;

#[tokio::test]
async fn content_length_beside_transfer_encoding_smuggles_nothing() {
    let orders = [
        "content-length: 5\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
    ];
    for headers in orders {
        let server = Server::start(ServeConfig::default()).await;
        let mut client = Client::connect(server.address).await;
        let smuggled = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
        client.send(format!("POST /echo HTTP/1.1\r\nhost: a\r\n{headers}\r\n0\r\n\r\n{smuggled}")).await;
        client.answer().await;
        // Nothing that follows such a request may be taken for a request.
        client.closed().await;
        assert_eq!(server.shared.smuggled.load(Ordering::SeqCst), 0);
        Client::get(server.address, "/").await.expect_ok("hello");
    }
}

#[tokio::test]
async fn malformed_requests_are_answered_400_and_their_connection_closed() {
    let server = Server::start(ServeConfig::default()).await;
    let requests = [
        "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
        "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5, 6\r\n\r\nhello!",
        "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n",
        "POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: identity\r\n\r\n",
        "POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        "POST /echo HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nhost : a\r\n\r\n",
        "\u{1}\u{2}\u{3} nonsense\r\n\r\n",
    ];
    for request in requests {
        let mut client = Client::connect(server.address).await;
        client.send(request).await;
        assert_eq!(client.answer().await.status, 400, "{request:?}");
        client.closed().await;
        Client::get(server.address, "/").await.expect_ok("hello");
    }
}

#[tokio::test]
async fn garbage_behind_a_good_request_costs_only_itself() {
    let server = Server::start(ServeConfig::default()).await;
    let mut client = Client::connect(server.address).await;
    let mut bytes =
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\nPOST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nok"
            .to_vec();
    bytes.extend((0..50_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0] | 0x80));
    client.send(bytes).await;
    client.answer().await.expect_ok("hello");
    client.answer().await.expect_ok("ok");
    assert_eq!(client.answer().await.status, 400);
    client.closed().await;
    Client::get(server.address, "/").await.expect_ok("hello");
}

#[tokio::test]
async fn a_broken_chunk_ends_the_connection_and_never_reaches_the_handler_as_whole() {
    let server = Server::start(ServeConfig::default()).await;
    let mut client = Client::connect(server.address).await;
    client
        .send("POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n")
        .await;
    assert_eq!(client.answer().await.status, 400);
    client.closed().await;
}

#[tokio::test]
async fn a_panicking_handler_is_answered_500_and_the_connection_goes_on() {
    let server = Server::start(ServeConfig::default()).await;
    let mut client = Client::connect(server.address).await;
    client.send("GET /panic HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let answer = client.answer().await;
    answer.expect_problem(500);
    assert!(!String::from_utf8_lossy(&answer.body).contains("of the test"), "a panic's text stays inside");
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    client.answer().await.expect_ok("hello");
}

#[tokio::test]
async fn a_handler_knows_its_client() {
    let server = Server::start(ServeConfig::default()).await;
    let mut client = Client::connect(server.address).await;
    client.send("GET /peer HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let own = client.local_addr().to_string();
    client.answer().await.expect_ok(&own);
}

#[tokio::test]
async fn an_upgraded_connection_belongs_to_its_handler_and_keeps_its_place() {
    let server = Server::start(ServeConfig::default().connections_max(1)).await;
    let mut client = Client::connect(server.address).await;
    client.send("GET /upgrade HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 101);
    client.send("no more HTTP").await;
    client.receives(b"no more HTTP").await;
    Client::connect(server.address).await.closed().await;
    client.send("still here").await;
    client.receives(b"still here").await;
}

#[tokio::test]
async fn whoever_asks_for_no_upgrade_or_another_one_is_told_which_there_is() {
    let server = Server::start(ServeConfig::default()).await;
    for asked in ["", "connection: upgrade\r\nupgrade: h2c, echoes\r\n"] {
        let mut client = Client::connect(server.address).await;
        client.send(format!("GET /upgrade HTTP/1.1\r\nhost: a\r\n{asked}\r\n")).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, 426);
        assert!(answer.head.contains("upgrade: echo"), "{}", answer.head);
    }
}

#[tokio::test]
async fn a_client_that_asks_first_is_told_to_go_on_only_with_a_body_that_fits() {
    let server = Server::start(ServeConfig::default().body_bytes_max(10)).await;
    let mut client = Client::connect(server.address).await;
    let head = "POST /echo HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\n";
    client.send(format!("{head}content-length: 5\r\n\r\n")).await;
    assert_eq!(client.answer().await.status, 100);
    client.send("hello").await;
    client.answer().await.expect_ok("hello");
    client.send(format!("{head}content-length: 11\r\n\r\n")).await;
    client.answer().await.expect_problem(413);
}
