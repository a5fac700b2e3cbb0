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
use tracing::warn;

use super::{
    LogId,
    index::{Index, Place, size},
    metrics::Counters,
    queue::{Command, Done, Failure, Queued},
    record::Record,
    tail::Tail,
};
use crate::{
    Durability,
    engine::{disk::unwritable, types::Types},
};

/// So much is written at once; what waits behind it goes into the next batch.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A sync that takes longer is worth a line: elections are not far.
const SLOW_SYNC: Duration = Duration::from_secs(1);

/// The thread of the log. It takes everything that waits, writes it at once, syncs it at once, and answers.
pub(super) struct Writer {
    pub(super) folder: PathBuf,
    pub(super) durability: Durability,
    pub(super) tail: Tail,
    pub(super) index: Arc<Mutex<Index>>,
    pub(super) counters: Arc<Counters>,
    pub(super) failure: Arc<Failure>,
    pub(super) unsynced: Unsynced,
    /// Held as long as anything may be written. The last field: it is given back when every file is closed.
    pub(super) _lock: File,
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
    records: Vec<Record>,
    /// About how long the records are.
    bytes: usize,
    callbacks: Vec<IOFlushed<Types>>,
    /// These wait for the sync, whatever the durability.
    answers: Vec<Done>,
    /// Their places in the queue are free when the batch is done, not before.
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
            let batch = Batch::gather(first, commands);
            let result = self.perform(&batch).map_err(|error| self.failed(&error));
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

    fn perform(&mut self, batch: &Batch) -> io::Result<()> {
        if self.tail.is_full() {
            self.sync()?;
            self.tail.roll()?;
        }
        let mut entries = Vec::new();
        for record in &batch.records {
            let place = self.tail.put(record)?;
            if let Record::Entry(entry) = record {
                entries.push((entry.log_id, place));
            }
        }
        self.counters.bytes.fetch_add(self.tail.pending() as u64, Relaxed);
        self.tail.write()?;
        let count = entries.len() as u64;
        if self.must_sync(!batch.answers.is_empty(), count) {
            self.sync()?;
        } else if count > 0 {
            self.unsynced.entries += count;
            self.unsynced.since.get_or_insert_with(Instant::now);
        }
        if self.tail.has_purged() {
            self.tail.remove_purged()?;
        }
        self.written(entries);
        Ok(())
    }

    fn must_sync(&self, asked: bool, entries: u64) -> bool {
        // Files may go only when it is on the disk that nobody needs them.
        if asked || self.tail.has_purged() {
            return true;
        }
        match self.durability {
            Durability::Sync => entries > 0,
            Durability::Batched { threshold, .. } => {
                let too_many = entries > 0 && self.unsynced.entries + entries >= u64::from(threshold);
                too_many || self.due().is_some_and(|due| due <= Instant::now())
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

    fn written(&self, entries: Vec<(LogId, Place)>) {
        self.counters.entries.fetch_add(entries.len() as u64, Relaxed);
        self.counters.segments.store(self.tail.segments(), Relaxed);
        self.counters.unsynced.store(self.unsynced.entries, Relaxed);
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, place) in entries {
            index.place(id, place);
        }
    }

    /// What everybody is told from now on. Nothing is tried again: a sync that failed once may succeed the next time
    /// without having written anything.
    fn failed(&self, error: &io::Error) -> io::Error {
        let error = unwritable("log", &self.folder, error);
        self.failure.set(&error);
        error
    }

    fn refuse(self, commands: &Receiver<Queued>) {
        while let Ok(first) = commands.recv() {
            Batch::gather(Some(first), commands).answer(self.failure.get().as_ref());
        }
    }
}

impl Batch {
    /// Everything that waits, up to a limit.
    fn gather(first: Option<Queued>, more: &Receiver<Queued>) -> Self {
        let mut batch = Self::default();
        let mut next = first;
        while let Some(queued) = next {
            batch.take(queued);
            next = if batch.bytes < BATCH_BYTES_MAX { more.try_recv().ok() } else { None };
        }
        batch
    }

    fn take(&mut self, mut queued: Queued) {
        match queued.command.take() {
            Some(Command::Append { entries, done }) => {
                self.callbacks.push(done);
                self.bytes += entries.iter().map(size).sum::<usize>();
                self.records.extend(entries.into_iter().map(Record::Entry));
            }
            Some(Command::Vote { vote, done }) => {
                self.answers.push(done);
                self.records.push(Record::Vote(vote));
            }
            Some(Command::TruncateAfter { last, done }) => {
                self.answers.push(done);
                self.records.push(Record::TruncateAfter(last));
            }
            Some(Command::Purge(upto)) => self.records.push(Record::Purge(upto)),
            Some(Command::Committed(committed)) => self.records.push(Record::Committed(committed)),
            None => {}
        }
        self.taken.push(queued);
    }

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
