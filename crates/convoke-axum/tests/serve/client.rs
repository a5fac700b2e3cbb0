use std::io;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::server::PATIENCE;

/// A client that sends exactly the bytes it is told to.
pub(crate) struct Client<S = TcpStream> {
    stream: S,
    buffer: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Client {
        Client::new(TcpStream::connect(address).await.expect("the server listens"))
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.stream.local_addr().expect("a connected socket has an address")
    }

    /// Asks on a connection of its own.
    pub(crate) async fn get(address: SocketAddr, path: &str) -> Answer {
        let mut client = Client::connect(address).await;
        client.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        client.answer().await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) fn new(stream: S) -> Self {
        Client { stream, buffer: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.expect("the server takes what is sent");
    }

    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        timeout(PATIENCE, self.stream.write_all(bytes.as_ref())).await.expect("the server reads in time")
    }

    /// Reads one answer with a content length.
    pub(crate) async fn answer(&mut self) -> Answer {
        self.try_answer().await.expect("there is an answer")
    }

    /// Reads one answer, or nothing when the connection ends before it.
    pub(crate) async fn try_answer(&mut self) -> Option<Answer> {
        let head_len = loop {
            if let Some(at) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.fill().await {
                return None;
            }
        };
        let head = String::from_utf8(self.buffer.drain(..head_len).collect()).expect("a head is text");
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a head has a status");
        let head = head.to_ascii_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.trim().parse().expect("a length is a number"));
        while self.buffer.len() < length {
            assert!(self.fill().await, "the connection ended within a body");
        }
        Some(Answer { status, head, body: self.buffer.drain(..length).collect() })
    }

    /// Reads exactly these bytes.
    pub(crate) async fn receives(&mut self, expected: &[u8]) {
        while self.buffer.len() < expected.len() {
            assert!(self.fill().await, "the connection ended early");
        }
        assert_eq!(self.buffer.drain(..expected.len()).collect::<Vec<_>>(), expected);
    }

    /// Waits until the server has closed the connection. What it still says must be nothing.
    pub(crate) async fn closed(&mut self) {
        assert!(!self.fill().await, "the server said {} bytes more", self.buffer.len());
    }

    /// Waits for the first bytes of an answer.
    pub(crate) async fn something_came(&mut self) {
        assert!(self.fill().await, "the connection ended without an answer");
    }

    async fn fill(&mut self) -> bool {
        let mut chunk = [0; 16 * 1024];
        match timeout(PATIENCE, self.stream.read(&mut chunk)).await.expect("something happens in time") {
            Ok(0) | Err(_) => false,
            Ok(count) => {
                self.buffer.extend_from_slice(&chunk[..count]);
                true
            }
        }
    }
}

impl Answer {
    /// Checks that this is problem+json of `status`, and nothing else.
    #[track_caller]
    pub(crate) fn expect_problem(&self, status: u16) {
        assert_eq!(self.status, status, "{}", self.head);
        assert!(self.head.contains("content-type: application/problem+json"), "{}", self.head);
        let problem: Value = serde_json::from_slice(&self.body).expect("the body is JSON");
        assert_eq!(problem["type"], "about:blank");
        assert_eq!(problem["status"], status);
        assert!(problem["title"].as_str().is_some_and(|title| !title.is_empty()));
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
    }

    #[track_caller]
    pub(crate) fn expect_ok(&self, body: &str) {
        assert_eq!((self.status, String::from_utf8_lossy(&self.body).as_ref()), (200, body), "{}", self.head);
    }
}
