use std::{
    fs::File,
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::Ordering::Relaxed,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use openraft::storage::IOFlushed;
use tracing::{error, warn};

use super::{
    LogId,
    index::{Index, Place},
    metrics::Counters,
    queue::{Command, Done, Failure, Queued},
    record::Record,
    tail::Tail,
};
use crate::{Durability, engine::types::Types};

/// So much is written at once; what waits behind it goes into the next batch.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A sync that takes longer is worth a line: elections are not far.
const SLOW_SYNC: Duration = Duration::from_secs(1);

/// The thread of the log. It takes everything that waits, writes it at once, syncs it at once, and answers.
pub(super) struct Writer {
    pub(super) folder: PathBuf,
    /// Held as long as anything may be written.
    pub(super) _lock: File,
    pub(super) durability: Durability,
    pub(super) tail: Tail,
    pub(super) index: Arc<Mutex<Index>>,
    pub(super) counters: Arc<Counters>,
    pub(super) failure: Arc<Failure>,
    pub(super) unsynced: Unsynced,
}

/// Entries that were acknowledged and are not on the disk.
#[derive(Debug, Default)]
pub(super) struct Unsynced {
    entries: u64,
    since: Option<Instant>,
}

/// What is written at once, and who waits for it.
#[derive(Default)]
struct Batch {
    appended: Vec<(LogId, Place)>,
    callbacks: Vec<IOFlushed<Types>>,
    /// These wait for the sync, whatever the durability.
    answers: Vec<Done>,
    /// Their places in the queue.
    taken: Vec<Queued>,
}

impl Writer {
    /// Works until nobody can give it more.
    pub(super) fn run(mut self, commands: &Receiver<Queued>) {
        loop {
            let first = match self.next(commands) {
                Ok(first) => Some(first),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let mut batch = Batch::default();
            let result = self.perform(&mut batch, first, commands).map_err(|error| self.failed(&error));
            let failed = result.is_err();
            batch.answer(result.as_ref().err());
            if failed {
                return self.refuse(commands);
            }
        }
        if self.unsynced.entries > 0
            && let Err(error) = self.sync()
        {
            self.failed(&error);
        }
    }

    /// The next command, or that a sync is due.
    fn next(&self, commands: &Receiver<Queued>) -> Result<Queued, RecvTimeoutError> {
        match self.due() {
            None => commands.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(due) => commands.recv_timeout(due.saturating_duration_since(Instant::now())),
        }
    }

    /// When what was acknowledged must be on the disk.
    fn due(&self) -> Option<Instant> {
        match self.durability {
            Durability::Sync => None,
            Durability::Batched { interval, .. } => self.unsynced.since.map(|since| since + interval),
        }
    }

    fn perform(
        &mut self,
        batch: &mut Batch,
        first: Option<Queued>,
        more: &Receiver<Queued>,
    ) -> io::Result<()> {
        if self.tail.is_full() {
            self.sync()?;
            self.tail.roll()?;
        }
        let mut next = first;
        while let Some(queued) = next.take() {
            self.take(batch, queued)?;
            if self.tail.pending() < BATCH_BYTES_MAX {
                next = more.try_recv().ok();
            }
        }
        self.counters.bytes.fetch_add(self.tail.pending() as u64, Relaxed);
        self.tail.write()?;
        if self.must_sync(batch) {
            self.sync()?;
        } else if !batch.appended.is_empty() {
            self.unsynced.entries += batch.appended.len() as u64;
            self.unsynced.since.get_or_insert_with(Instant::now);
        }
        if self.tail.has_purged() && self.unsynced.entries == 0 {
            self.tail.remove_purged()?;
        }
        self.written(batch);
        Ok(())
    }

    fn take(&mut self, batch: &mut Batch, mut queued: Queued) -> io::Result<()> {
        // The place in the queue is free when the batch is done, not before.
        let command = queued.command.take();
        batch.taken.push(queued);
        match command {
            Some(Command::Append { entries, done }) => {
                batch.callbacks.push(done);
                for entry in entries {
                    let id = entry.log_id;
                    let place = self.tail.put(&Record::Entry(entry))?;
                    batch.appended.push((id, place));
                }
            }
            Some(Command::Vote { vote, done }) => {
                batch.answers.push(done);
                self.tail.put(&Record::Vote(vote))?;
            }
            Some(Command::TruncateAfter { last, done }) => {
                batch.answers.push(done);
                self.tail.put(&Record::TruncateAfter(last))?;
            }
            Some(Command::Purge(upto)) => {
                self.tail.put(&Record::Purge(upto))?;
            }
            Some(Command::Committed(committed)) => {
                self.tail.put(&Record::Committed(committed))?;
            }
            None => {}
        }
        Ok(())
    }

    fn must_sync(&self, batch: &Batch) -> bool {
        // Files may go only when it is on the disk that nobody needs them.
        if !batch.answers.is_empty() || self.tail.has_purged() {
            return true;
        }
        let entries = batch.appended.len() as u64;
        match self.durability {
            Durability::Sync => entries > 0,
            Durability::Batched { threshold, .. } => {
                let unsynced = self.unsynced.entries + entries;
                unsynced >= u64::from(threshold.max(1)) && entries > 0
                    || self.due().is_some_and(|due| due <= Instant::now())
            }
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        let from = Instant::now();
        self.tail.sync()?;
        let took = from.elapsed();
        self.counters.synced(took);
        self.unsynced = Unsynced::default();
        if took > SLOW_SYNC {
            warn!(took_ms = took.as_millis(), "the disk of the log is slow: elections may follow");
        }
        Ok(())
    }

    fn written(&self, batch: &mut Batch) {
        self.counters.entries.fetch_add(batch.appended.len() as u64, Relaxed);
        self.counters.segments.store(self.tail.segments(), Relaxed);
        self.counters.unsynced.store(self.unsynced.entries, Relaxed);
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, place) in batch.appended.drain(..) {
            index.place(id, place);
        }
    }

    /// What everybody is told from now on. Nothing is tried again: a sync that failed once may succeed the next time
    /// without having written anything.
    fn failed(&self, error: &io::Error) -> io::Error {
        let advice = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "make room, then start the node again"
            }
            _ => "look at the disk, then start the node again",
        };
        let text = format!(
            "the log in {} cannot be written: {error}; the node stops: {advice}",
            self.folder.display()
        );
        error!(folder = %self.folder.display(), %error, advice, "the log cannot be written, the node stops");
        let error = io::Error::new(error.kind(), text);
        self.failure.set(&error);
        error
    }

    fn refuse(self, commands: &Receiver<Queued>) {
        while let Ok(mut queued) = commands.recv() {
            let mut batch = Batch::default();
            match queued.command.take() {
                Some(Command::Append { done, .. }) => batch.callbacks.push(done),
                Some(Command::Vote { done, .. } | Command::TruncateAfter { done, .. }) => {
                    batch.answers.push(done)
                }
                Some(Command::Purge(_) | Command::Committed(_)) | None => {}
            }
            batch.answer(self.failure.get().as_ref());
        }
    }
}

impl Batch {
    fn answer(self, error: Option<&io::Error>) {
        let result = || error.map_or(Ok(()), |error| Err(io::Error::new(error.kind(), error.to_string())));
        for callback in self.callbacks {
            callback.io_completed(result());
        }
        for answer in self.answers {
            let _ = answer.send(result()); // who asked may have given up
        }
    }
}
