//! Where handlers wait until a test lets them on.
use std::{
    io::{self, Read, Write},
    net::SocketAddr,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::timeout,
};

/// How long a run may take to say something.
const SAYS_WITHIN: Duration = Duration::from_secs(10);
const OPEN: &[u8] = b"+";
const FINISHED: &str = "finished";

pub(crate) struct Gate {
    listener: TcpListener,
}

/// A run of a handler, seen from the gate.
pub(crate) struct Run {
    pub(crate) node: String,
    said: BufReader<OwnedReadHalf>,
    to: OwnedWriteHalf,
}

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It came to its end.
    Finished,
    /// It was dropped before.
    Cancelled,
}

impl Gate {
    pub(crate) async fn new() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.expect("a free port") }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("it listens")
    }

    /// Waits for the next run.
    pub(crate) async fn next(&self) -> Run {
        let (stream, _) = timeout(SAYS_WITHIN, self.listener.accept())
            .await
            .expect("a handler comes to the gate")
            .expect("it is accepted");
        let (said, to) = stream.into_split();
        let mut run = Run { node: String::new(), said: BufReader::new(said), to };
        run.node = run.says().await;
        run
    }
}

impl Run {
    /// Lets it on.
    pub(crate) async fn open(&mut self) {
        self.to.write_all(OPEN).await.expect("it listens");
    }

    /// Waits until it ended.
    pub(crate) async fn ended(&mut self) -> Ended {
        match self.says().await.as_str() {
            FINISHED => Ended::Finished,
            _ => Ended::Cancelled,
        }
    }

    /// The next line; empty when it hung up.
    async fn says(&mut self) -> String {
        let mut line = String::new();
        // A process that drops its end unread resets the connection: it is gone either way.
        let _ = timeout(SAYS_WITHIN, self.said.read_line(&mut line)).await.expect("the run says something");
        line.trim_end().to_owned()
    }
}

/// Waits at the gate like any handler that waits for something; dropping the future hangs up.
pub(crate) async fn wait(gate: SocketAddr, node: &str) -> io::Result<()> {
    let (said, mut to) = TcpStream::connect(gate).await?.into_split();
    to.write_all(format!("{node}\n").as_bytes()).await?;
    BufReader::new(said).fill_buf().await?;
    to.write_all(format!("{FINISHED}\n").as_bytes()).await
}

/// Waits at the gate without ever giving its thread away: nothing can cancel it.
pub(crate) fn block(gate: SocketAddr, node: &str) -> io::Result<()> {
    let mut stream = std::net::TcpStream::connect(gate)?;
    stream.write_all(format!("{node}\n").as_bytes())?;
    stream.read_exact(&mut [0; OPEN.len()])?;
    stream.write_all(format!("{FINISHED}\n").as_bytes())
}
