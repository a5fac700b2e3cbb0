//! A log whose last entries are lost in a crash: those that were not synced yet.

mod state;

use std::{
    collections::VecDeque,
    fmt::Debug,
    io,
    ops::{Bound, RangeBounds},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use openraft::{
    LogState, OptionalSend, RaftLogReader,
    alias::{DefaultEntryOf, LogIdOf, VoteOf},
    storage::{IOFlushed, RaftLogStorage},
};
use tokio::{sync::oneshot, time::sleep};

use self::state::{Kept, Write};
use super::{dice::Dice, planted::Planted};
use crate::engine::types::Types;

type Entry = DefaultEntryOf<Types>;
type LogId = LogIdOf<Types>;
type Vote = VoteOf<Types>;

/// The disk of one node. Outlives its crashes.
#[derive(Debug, Clone)]
pub(super) struct Disk(Arc<Mutex<Platter>>);

#[derive(Debug)]
struct Platter {
    dice: Dice,
    planted: Planted,
    /// Which start of the node may write.
    life: u64,
    /// As the node sees it.
    seen: Kept,
    /// As a crash leaves it, with some of `unsynced`.
    synced: Kept,
    unsynced: VecDeque<(Write, Option<Told>)>,
    syncing: bool,
    /// How long a sync takes at least.
    slow_ms: u64,
    lost: u64,
}

/// Who waits for a write to be synced.
enum Told {
    Appended(IOFlushed<Types>),
    Done(oneshot::Sender<()>),
}

impl Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Told")
    }
}

impl Told {
    fn tell(self) {
        match self {
            Self::Appended(callback) => callback.io_completed(Ok(())),
            // Whoever asked may have crashed.
            Self::Done(done) => drop(done.send(())),
        }
    }
}

impl Disk {
    pub(super) fn new(dice: Dice, planted: Planted) -> Self {
        Self(Arc::new(Mutex::new(Platter {
            dice,
            planted,
            life: 0,
            seen: Kept::default(),
            synced: Kept::default(),
            unsynced: VecDeque::new(),
            syncing: false,
            slow_ms: 0,
            lost: 0,
        })))
    }

    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node starts: it sees what is there.
    pub(super) fn open(&self) -> Log {
        Log { disk: self.clone(), life: self.platter().life }
    }

    /// The node dies, and with it what was written last, or some of it.
    pub(super) fn crash(&self) {
        let mut platter = self.platter();
        platter.life += 1;
        let unsynced = platter.unsynced.len();
        let kept = platter.dice.below(unsynced + 1);
        let writes: Vec<_> = platter.unsynced.drain(..).collect();
        for (write, _) in writes.into_iter().take(kept) {
            platter.synced.write(write);
        }
        platter.lost += (unsynced - kept) as u64;
        platter.seen = platter.synced.clone();
        platter.syncing = false;
    }

    /// Each sync takes so long from now on, and a bit.
    pub(super) fn slow(&self, least_ms: u64) {
        self.platter().slow_ms = least_ms;
    }

    /// Writes that crashes lost.
    pub(super) fn lost(&self) -> u64 {
        self.platter().lost
    }

    /// Writes, and tells `told` when it is synced.
    fn write(&self, life: u64, write: Write, told: Option<Told>) -> io::Result<()> {
        let mut platter = self.platter();
        if platter.life != life {
            return Err(io::Error::other("this life of the node is over"));
        }
        platter.seen.write(write.clone());
        let mut told = told;
        if platter.planted == Planted::AckBeforeSync
            && let Some(told) = told.take()
        {
            told.tell();
        }
        platter.unsynced.push_back((write, told));
        if !platter.syncing {
            platter.syncing = true;
            tokio::spawn(self.clone().sync(life));
        }
        Ok(())
    }

    /// Syncs what waits, all of it at once, until nothing does.
    async fn sync(self, life: u64) {
        loop {
            let (waiting, takes) = {
                let mut platter = self.platter();
                if platter.life != life {
                    return;
                }
                if platter.unsynced.is_empty() {
                    platter.syncing = false;
                    return;
                }
                (platter.unsynced.len(), platter.sync_time())
            };
            sleep(takes).await;
            let mut platter = self.platter();
            if platter.life != life {
                return;
            }
            let synced: Vec<_> = platter.unsynced.drain(..waiting).collect();
            for (write, told) in synced {
                platter.synced.write(write);
                told.into_iter().for_each(Told::tell);
            }
        }
    }
}

impl Platter {
    fn sync_time(&mut self) -> Duration {
        let least = self.slow_ms;
        let hiccup = if self.dice.falls(2) { 40 } else { 0 };
        self.dice.millis(least..least + 3 + hiccup)
    }
}

/// The disk as one life of its node has it open.
#[derive(Debug, Clone)]
pub(super) struct Log {
    disk: Disk,
    life: u64,
}

impl Log {
    async fn write_through(&self, write: Write) -> io::Result<()> {
        let (done, synced) = oneshot::channel();
        self.disk.write(self.life, write, Some(Told::Done(done)))?;
        synced.await.map_err(|_| io::Error::other("this life of the node is over"))
    }
}

impl RaftLogReader<Types> for Log {
    async fn try_get_log_entries<R>(&mut self, range: R) -> io::Result<Vec<Entry>>
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let range = (range.start_bound().cloned(), range.end_bound().cloned());
        if let (Bound::Included(start), Bound::Excluded(end)) = range
            && start >= end
        {
            return Ok(Vec::new());
        }
        Ok(self.disk.platter().seen.entries.range(range).map(|(_, entry)| entry.clone()).collect())
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.disk.platter().seen.vote)
    }
}

impl RaftLogStorage<Types> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let platter = self.disk.platter();
        Ok(LogState { last_purged_log_id: platter.seen.purged, last_log_id: platter.seen.last() })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.write_through(Write::Vote(*vote)).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.disk.write(self.life, Write::Committed(committed), None)
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.disk.platter().seen.committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries = entries.into_iter().collect();
        self.disk.write(self.life, Write::Append(entries), Some(Told::Appended(callback)))
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        self.write_through(Write::TruncateAfter(last)).await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        self.disk.write(self.life, Write::Purge(upto), None)
    }
}
