//! A client's connection to a node's process.

use std::{io, path::PathBuf, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
    time::timeout,
};

use crate::wire::{Ask, Question, Said};

/// A node answers by its deadline, or a moment later when the machine is busy.
const GRACE: Duration = Duration::from_millis(300);

/// One question after the other. It is connected with the first one.
pub(crate) struct Line {
    at: PathBuf,
    stream: Option<BufReader<UnixStream>>,
}

impl Line {
    pub(crate) fn to(at: PathBuf) -> Self {
        Self { at, stream: None }
    }

    /// Hangs up when nobody knows what came of it.
    pub(crate) async fn ask(&mut self, ask: Ask, within: Duration) -> Said {
        let said = self.ask_and_stay(ask, within).await;
        if matches!(said, Said::Unknown(_)) {
            self.hang_up();
        }
        said
    }

    /// Stays connected without an answer: then the next thing to do is to hang up.
    pub(crate) async fn ask_and_stay(&mut self, ask: Ask, within: Duration) -> Said {
        let asked = async {
            let connected = self.connect().await;
            connected.map_err(|error| Said::Refused(error.to_string()))?;
            self.say(ask, within).await.map_err(|error| Said::Unknown(error.to_string()))?;
            self.hear().await.map_err(|error| Said::Unknown(error.to_string()))
        };
        match timeout(within + GRACE, asked).await {
            Ok(said) => said.unwrap_or_else(|said| said),
            Err(_) => Said::Unknown("no answer".to_owned()),
        }
    }

    pub(crate) fn hang_up(&mut self) {
        self.stream = None;
    }

    pub(crate) async fn connect(&mut self) -> io::Result<()> {
        if self.stream.is_none() {
            self.stream = Some(BufReader::new(UnixStream::connect(&self.at).await?));
        }
        Ok(())
    }

    /// Writes a question where the node will find it.
    pub(crate) async fn say(&mut self, ask: Ask, within: Duration) -> io::Result<()> {
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let within_ms = u64::try_from(within.as_millis()).expect("it is short");
        let line = serde_json::to_string(&Question { ask, within_ms }).expect("it has no odd keys") + "\n";
        stream.write_all(line.as_bytes()).await
    }

    pub(crate) async fn hear(&mut self) -> io::Result<Said> {
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_str(&line)?)
    }
}
