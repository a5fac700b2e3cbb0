use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

/// How long stopped connections may take to be gone; only a handler that blocks its thread takes longer.
const STOP_TIME_MAX: Duration = Duration::from_secs(1);

/// How far a server's end has come. It only goes forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Running,
    /// Connections end after the request they are at.
    Draining,
    /// Connections end now.
    Stopped,
}

impl Stage {
    /// Waits for a later stage than `seen`. A server that was dropped has stopped.
    pub(super) async fn after(stage: &mut watch::Receiver<Stage>, seen: Stage) -> Stage {
        stage.wait_for(|now| *now > seen).await.map_or(Stage::Stopped, |now| *now)
    }
}

/// What became of the requests that were in flight when a shutdown began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// Requests that were answered to the end.
    pub finished: usize,
    /// Requests that were cut, because the client left or the time was up.
    pub aborted: usize,
}

/// Counts while a server drains.
#[derive(Debug, Default)]
pub(super) struct Tally {
    finished: AtomicUsize,
    aborted: AtomicUsize,
}

impl Tally {
    /// One connection ended, with so many requests answered during the drain, and perhaps one cut.
    pub(super) fn connection_ended(&self, finished: usize, aborted: bool) {
        self.finished.fetch_add(finished, Ordering::Relaxed);
        self.aborted.fetch_add(usize::from(aborted), Ordering::Relaxed);
    }

    /// Waits for all connections to end, cuts those that do not, and counts.
    pub(super) async fn drain(&self, stage: watch::Sender<Stage>, drain_timeout: Duration) -> Drained {
        stage.send_replace(Stage::Draining);
        if timeout(drain_timeout, stage.closed()).await.is_err() {
            stage.send_replace(Stage::Stopped);
            if timeout(STOP_TIME_MAX, stage.closed()).await.is_err() {
                let connections = stage.receiver_count();
                tracing::warn!(connections, "connections are held by handlers that block their thread");
                self.aborted.fetch_add(connections, Ordering::Relaxed);
            }
        }
        Drained {
            finished: self.finished.load(Ordering::Relaxed),
            aborted: self.aborted.load(Ordering::Relaxed),
        }
    }
}
