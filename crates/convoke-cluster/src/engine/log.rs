//! The log of a node: what openraft appends, votes and purges.

mod index;
mod read;

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use openraft::{
    LogState, OptionalSend,
    alias::{DefaultEntryOf, LogIdOf, VoteOf},
    storage::{IOFlushed, RaftLogStorage},
};

use self::index::Index;
use crate::engine::types::Types;

type Entry = DefaultEntryOf<Types>;
type LogId = LogIdOf<Types>;
type Vote = VoteOf<Types>;

/// A handle to the log of one node. Clones are the same log: one that is in memory survives the engine that wrote it
/// when a clone is kept.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    index: Arc<Mutex<Index>>,
}

impl Log {
    /// A log that ends with its last handle: no threads, no disk.
    pub(crate) fn in_memory() -> Self {
        Self { index: Arc::default() }
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.index().vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.index().committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.index().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        {
            let mut index = self.index();
            for entry in entries {
                index.append(entry)?;
            }
        }
        callback.io_completed(Ok(()));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        self.index().truncate_after(last);
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        self.index().purge(upto);
        Ok(())
    }
}
