//! A test's side door into its Redis.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::Error;

const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const ANSWER_BYTES_MAX: u64 = 1024 * 1024;

/// The server's socket in its own directory: nobody else's server can answer there, and neither TLS nor a fault in
/// front of the port gets in the way.
#[derive(Debug)]
pub(super) struct Control {
    socket: PathBuf,
    user: Option<(String, String)>,
}

impl Control {
    pub(super) fn new(socket: PathBuf, user: Option<(String, String)>) -> Self {
        Self { socket, user }
    }

    pub(super) async fn answers(&self) -> bool {
        self.ask("PING").await.is_ok_and(|answer| answer.starts_with("+PONG"))
    }

    /// Gives the node its slots when it has none yet, and says whether the cluster is up.
    pub(super) async fn owns_all_slots(&self) -> bool {
        let Ok(info) = self.ask("CLUSTER INFO").await else { return false };
        if info.contains("cluster_slots_assigned:0") {
            let _ = self.ask("CLUSTER ADDSLOTSRANGE 0 16383").await;
        }
        info.contains("cluster_state:ok") && info.contains("cluster_slots_assigned:16384")
    }

    /// The raw reply to one inline command.
    pub(super) async fn ask(&self, command: &str) -> Result<String, Error> {
        let failed = |why: String| Error::failed(format!("redis-server did not answer {command:?}: {why}"));
        match timeout(ANSWER_WITHIN, self.exchange(command)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(failed(format!("nothing within {ANSWER_WITHIN:?}"))),
        }
    }

    /// `QUIT` makes the server close the connection, so the answer ends where the stream does.
    async fn exchange(&self, command: &str) -> std::io::Result<String> {
        let mut stream = UnixStream::connect(&self.socket).await?;
        let mut request = String::new();
        if let Some((user, password)) = &self.user {
            let _ = write!(request, "AUTH {user} {password}\r\n");
        }
        let _ = write!(request, "{command}\r\nQUIT\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer).await?;
        let answer =
            if self.user.is_some() { answer.strip_prefix("+OK\r\n").unwrap_or(&answer) } else { &answer };
        Ok(answer.strip_suffix("+OK\r\n").unwrap_or(answer).to_owned())
    }
}
