//! Hostile input over HTTP and over NATS: a node answers or closes, stays small, and serves on.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use convoke_testing::servers::{NatsServer, resident_bytes};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
    time::timeout,
};

/// What a node may grow by, whatever it is sent.
const GROWTH_MAX: u64 = 64 * 1024 * 1024;
/// Connections that begin a request and never end it.
const UNFINISHED: usize = 300;
/// How long a node may keep an unfinished head.
const HEAD_WAIT: Duration = Duration::from_secs(10);
const ORDER: &str =
    r#"{"customerId":"C","items":[{"productId":"P","productName":"N","quantity":1,"unitPrice":1}]}"#;

struct Node {
    child: Child,
    address: String,
}

impl Node {
    async fn start(nats: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_orders"))
            .args(["node", "--listen", "127.0.0.1:0", "--node", "hostile", "--nats", nats])
            .args(["--log", "error"])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let listens = async {
            loop {
                let line = lines.next_line().await.unwrap().expect("the node starts");
                if let Some((_, address)) = line.split_once(" listens on ") {
                    return address.trim().trim_start_matches("http://").to_owned();
                }
            }
        };
        let address = timeout(Duration::from_secs(20), listens).await.unwrap();
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { child, address }
    }

    fn resident(&self) -> u64 {
        resident_bytes(self.child.id().expect("it runs"))
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.address).await.unwrap()
    }

    /// What comes back until the node closes, or has answered; empty when it only closes.
    async fn exchange(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        let _ = stream.write_all(bytes).await; // it may close while we still send
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer); // a reset is a close, too
        let _ = timeout(Duration::from_secs(40), read).await.expect("it answers or closes");
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn post(&self, content_type: &str, body: &[u8]) -> String {
        let head = format!(
            "POST /orders HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        self.exchange(&[head.as_bytes(), body].concat()).await
    }

    async fn get(&self, path: &str) -> String {
        self.exchange(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).await
    }
}

#[track_caller]
fn refused(answer: &str, what: &str) {
    let status = answer.split(' ').nth(1).unwrap_or("closed");
    assert!(status == "closed" || status.starts_with('4'), "{what}: {answer}");
}

/// Payloads that are small to send and large, deep or endless to read.
fn bombs() -> Vec<(&'static str, Vec<u8>)> {
    let deep_map: Vec<u8> = [0x81, 0xa5].into_iter().chain(*b"items").collect();
    vec![
        ("120 KB of nested arrays", vec![0x91; 120_000]),
        ("nested maps", deep_map.repeat(20_000)),
        ("an array of 4 G", vec![0xdd, 0xff, 0xff, 0xff, 0xff]),
        ("a map of 4 G", vec![0xdf, 0xff, 0xff, 0xff, 0xff]),
        ("a string of 4 G", vec![0xdb, 0xff, 0xff, 0xff, 0xff, b'x']),
        ("an extension of 4 G", vec![0xc9, 0xff, 0xff, 0xff, 0xff, 0x01]),
        ("nothing", Vec::new()),
        ("garbage", (0_u32..50_000).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_answers_or_closes_stays_small_and_serves_on() {
    let Some(server) = NatsServer::start_or_skip("hostile input").await else { return };
    let node = Node::start(&server.url()).await;
    let first = node.post("application/json", ORDER.as_bytes()).await;
    assert!(first.starts_with("HTTP/1.1 201"), "{first}");
    let before = node.resident();

    bombs_over_http(&node).await;
    bombs_over_nats(&server).await;
    unfinished_heads(&node).await;
    pipelined_garbage(&node).await;

    let grown = node.resident().saturating_sub(before);
    assert!(grown < GROWTH_MAX, "the node grew by {} MiB", grown / 1024 / 1024);
    println!("the node grew by {} KiB", grown / 1024);
    let orders = node.get("/orders").await;
    assert_eq!(orders.matches("customerId").count(), 1, "nothing of it was stored: {orders}");
    let events = node.get("/events").await;
    assert_eq!(events.matches("eventId").count(), 1, "nothing of it was published: {events}");
    let last = node.post("application/json", ORDER.as_bytes()).await;
    assert!(last.starts_with("HTTP/1.1 201"), "{last}");
}

async fn bombs_over_http(node: &Node) {
    for (what, bomb) in bombs() {
        refused(&node.post("application/msgpack", &bomb).await, what);
    }
    refused(&node.post("application/json", "[".repeat(100_000).as_bytes()).await, "nested JSON arrays");
    refused(
        &node.post("application/json", r#"{"a":"#.repeat(50_000).as_bytes()).await,
        "nested JSON objects",
    );
    for _ in 0..20 {
        refused(&node.post("application/json", &vec![b' '; 10_000_000]).await, "10 MB");
    }
    let chunk = format!("{:x}\r\n{}\r\n", 100_000, "x".repeat(100_000));
    let head = "POST /orders HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    refused(&node.exchange((head.to_owned() + &chunk.repeat(100)).as_bytes()).await, "10 MB in chunks");
}

async fn bombs_over_nats(server: &NatsServer) {
    let client = async_nats::connect(server.url()).await.unwrap();
    for (what, bomb) in bombs() {
        for subject in ["convoke.cmd.orders.place.v1", "convoke.qry.orders.list.v1"] {
            let answer = timeout(Duration::from_secs(10), client.request(subject, bomb.clone().into())).await;
            let answer = answer.expect("it answers").unwrap();
            let status =
                answer.headers.as_ref().and_then(|h| h.get("Convoke-Status")).map(|v| v.as_str().to_owned());
            assert_eq!(status.as_deref(), Some("failed"), "{what} at {subject}");
        }
    }
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Convoke", "1 ".repeat(2_000).as_str());
    let answer =
        client.request_with_headers("convoke.cmd.orders.place.v1", headers, "x".into()).await.unwrap();
    assert!(answer.headers.is_some(), "a malformed envelope is answered, too");
}

async fn unfinished_heads(node: &Node) {
    let mut streams = Vec::new();
    for _ in 0..UNFINISHED {
        let mut stream = node.connect().await;
        stream.write_all(b"POST /orders HTTP/1.1\r\nhost: x\r\nx-slow: ").await.unwrap();
        streams.push(stream);
    }
    let begun = Instant::now();
    assert!(node.get("/livez").await.starts_with("HTTP/1.1 200"), "others are served meanwhile");
    for mut stream in streams {
        let left = HEAD_WAIT.saturating_sub(begun.elapsed()).max(Duration::from_millis(100));
        let mut rest = Vec::new();
        let _ = timeout(left, stream.read_to_end(&mut rest)).await.expect("an unfinished head is closed");
    }
}

async fn pipelined_garbage(node: &Node) {
    let garbage = [
        b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n\x00\xff\xfe GARBAGE \r\n\r\n".repeat(50),
        vec![0; 1_000_000],
        b"GET / HTTP/1.1\r\n".iter().copied().chain(b"x: y\r\n".repeat(100_000)).collect(),
        b"POST /orders HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!".to_vec(),
        b"POST /orders HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n"
            .to_vec(),
    ];
    for bytes in garbage {
        let answer = node.exchange(&bytes).await;
        assert!(!answer.contains("HTTP/1.1 5"), "{answer}");
    }
}
