//! The log of a node: what openraft appends, votes and purges.
//!
//! On disk it is a folder of segments, which are files of records. One thread writes them; it takes everything that
//! waits for it at once, and syncs it at once. A record carries its length, a checksum that knows its place, the
//! version of its format, and how much of its segment was on the disk when it was written: so a batch that a power
//! cut tore is told from damage to what was acknowledged.

mod index;
mod metrics;
mod open;
mod queue;
mod read;
mod record;
mod recover;
mod segment;
mod tail;
mod writer;

use std::{
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use openraft::{
    LogState, OptionalSend,
    alias::{DefaultEntryOf, LogIdOf, VoteOf},
    storage::{IOFlushed, RaftLogStorage},
};

pub(crate) use self::metrics::LogMetrics;
use self::{
    index::Index,
    metrics::Counters,
    queue::{Command, Queue},
};
use crate::engine::types::Types;

type Entry = DefaultEntryOf<Types>;
type LogId = LogIdOf<Types>;
type Vote = VoteOf<Types>;

/// A handle to the log of one node. Clones are the same log: one that is in memory survives the engine that wrote it
/// when a clone is kept. One on disk is closed when the last of them is gone.
#[derive(Clone)]
pub(crate) struct Log {
    index: Arc<Mutex<Index>>,
    /// `None`: in memory.
    disk: Option<Arc<Disk>>,
}

/// The way to the thread that writes.
#[derive(Debug)]
struct Disk {
    queue: Queue,
    counters: Arc<Counters>,
}

impl Log {
    /// A log that ends with its last handle: no threads, no disk.
    pub(crate) fn in_memory() -> Self {
        Self { index: Arc::default(), disk: None }
    }

    /// What it did since it was opened. All zero in memory.
    pub(crate) fn metrics(&self) -> LogMetrics {
        self.disk.as_ref().map(|disk| disk.counters.snapshot()).unwrap_or_default()
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Without what is in it.
impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let index = self.index();
        f.debug_struct("Log")
            .field("purged", &index.purged)
            .field("last", &index.last())
            .finish_non_exhaustive()
    }
}

impl RaftLogStorage<Types> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let index = self.index();
        Ok(LogState { last_purged_log_id: index.purged, last_log_id: index.last() })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        if let Some(disk) = &self.disk {
            disk.queue.ask(|done| Command::Vote { vote: *vote, done }).await?;
        }
        self.index().vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.index().committed = committed;
        match &self.disk {
            // It may be older after a crash: openraft then asks a leader before it answers.
            Some(disk) => disk.queue.put(Command::Committed(committed), 0).await,
            None => Ok(()),
        }
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.index().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<_> = entries.into_iter().collect();
        {
            let mut index = self.index();
            for entry in &entries {
                index.append(entry.clone())?;
            }
        }
        let Some(disk) = &self.disk else {
            callback.io_completed(Ok(()));
            return Ok(());
        };
        let bytes = entries.iter().map(index::size).sum();
        disk.queue.put(Command::Append { entries, done: callback }, bytes).await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        self.index().truncate_after(last);
        match &self.disk {
            // A snapshot may follow that contradicts what was cut off.
            Some(disk) => disk.queue.ask(|done| Command::TruncateAfter { last, done }).await,
            None => Ok(()),
        }
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        self.index().purge(upto);
        match &self.disk {
            Some(disk) => disk.queue.put(Command::Purge(upto), 0).await,
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
