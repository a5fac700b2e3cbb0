use std::{
    io,
    sync::{Arc, OnceLock, mpsc},
    time::Duration,
};

use openraft::storage::IOFlushed;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::timeout,
};

use super::{Entry, LogId, Vote};
use crate::engine::types::Types;

/// So much waits for the disk at most; who has more waits for room.
pub(super) const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Every command counts as so many bytes, and they are counted in these.
const UNIT: usize = 1024;

/// A disk that takes longer is as good as broken.
pub(super) const DISK_WAIT_MAX: Duration = Duration::from_secs(30);

/// What the thread of the log does, in the order in which it was told.
pub(super) enum Command {
    Append {
        entries: Vec<Entry>,
        done: IOFlushed<Types>,
    },
    /// On the disk before the answer.
    Vote {
        vote: Vote,
        done: Done,
    },
    /// On the disk before the answer.
    TruncateAfter {
        last: Option<LogId>,
        done: Done,
    },
    Purge(LogId),
    Committed(Option<LogId>),
}

pub(super) type Done = oneshot::Sender<io::Result<()>>;

/// A command, and its place in the queue, which is free when it was dealt with.
pub(super) struct Queued {
    /// Taken when it is dealt with.
    pub(super) command: Option<Command>,
    _place: OwnedSemaphorePermit,
}

/// The way to the thread of the log, with a limit.
#[derive(Debug)]
pub(super) struct Queue {
    commands: mpsc::Sender<Queued>,
    room: Arc<Semaphore>,
    failure: Arc<Failure>,
}

/// Why the log cannot be written any more, once it is so.
#[derive(Debug, Default)]
pub(super) struct Failure(OnceLock<(io::ErrorKind, String)>);

impl Failure {
    pub(super) fn set(&self, error: &io::Error) {
        // The first one counts: the others follow from it.
        let _ = self.0.set((error.kind(), error.to_string()));
    }

    pub(super) fn get(&self) -> Option<io::Error> {
        self.0.get().map(|(kind, text)| io::Error::new(*kind, text.clone()))
    }
}

impl Queue {
    pub(super) fn new() -> (Self, mpsc::Receiver<Queued>, Arc<Failure>) {
        let (commands, receiver) = mpsc::channel();
        let room = Arc::new(Semaphore::new(QUEUE_BYTES_MAX / UNIT));
        let failure = Arc::new(Failure::default());
        (Self { commands, room, failure: failure.clone() }, receiver, failure)
    }

    pub(super) async fn put(&self, command: Command, bytes: usize) -> io::Result<()> {
        let units = (1 + bytes / UNIT).min(QUEUE_BYTES_MAX / UNIT);
        let units = u32::try_from(units).expect("the limit is smaller");
        let room = self.room.clone().acquire_many_owned(units);
        let place = timeout(DISK_WAIT_MAX, room).await.map_err(|_| stuck())?.map_err(io::Error::other)?;
        let queued = Queued { command: Some(command), _place: place };
        self.commands.send(queued).map_err(|_| self.failure.get().unwrap_or_else(ended))
    }

    /// Puts a command and waits for its answer.
    pub(super) async fn ask(&self, command: impl FnOnce(Done) -> Command) -> io::Result<()> {
        let (done, answer) = oneshot::channel();
        self.put(command(done), 0).await?;
        let answer = timeout(DISK_WAIT_MAX, answer).await.map_err(|_| stuck())?;
        answer.map_err(|_| self.failure.get().unwrap_or_else(ended))?
    }
}

pub(super) fn stuck() -> io::Error {
    let text = format!("the disk of the log did not answer within {} s", DISK_WAIT_MAX.as_secs());
    io::Error::new(io::ErrorKind::TimedOut, text)
}

fn ended() -> io::Error {
    io::Error::other("the thread of the log ended")
}
