use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    path::Path,
    sync::{Arc, Mutex, atomic::Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use super::{
    Disk, Log,
    metrics::Counters,
    queue::{Failure, Queue},
    recover::recover,
    tail::Tail,
    writer::{Unsynced, Writer},
};
use crate::{Durability, engine::snapshot::create_folder};

/// How much a log keeps together. Tests have less of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// A segment that reached this length is followed by another.
    pub(super) segment_bytes_max: u64,
    /// Entries that are on disk stay in memory up to so many bytes, the youngest of them: most reads are for members
    /// that are close behind.
    pub(super) cache_bytes_max: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { segment_bytes_max: 64 * 1024 * 1024, cache_bytes_max: 64 * 1024 * 1024 }
    }
}

const LOCK: &str = "lock";

/// Another process may be about to end.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(2);

/// How often it is looked whether it ended.
const LOCK_WAIT_STEP: Duration = Duration::from_millis(20);

impl Log {
    /// The log in a folder, which is created when it is missing. Blocks: for the start of a node.
    ///
    /// # Errors
    /// What the disk says; that the log is damaged, and where; that another process uses it.
    pub(crate) fn open(folder: &Path, durability: Durability) -> io::Result<Self> {
        Self::open_with(folder, durability, Sizes::default())
    }

    pub(super) fn open_with(folder: &Path, durability: Durability, sizes: Sizes) -> io::Result<Self> {
        let (queue, commands, failure) = Queue::new();
        let (writer, log) = Self::prepare(folder, durability, sizes, queue, failure)?;
        thread::Builder::new().name("convoke-log".into()).spawn(move || writer.run(&commands))?;
        Ok(log)
    }

    /// Everything but the thread.
    pub(super) fn prepare(
        folder: &Path,
        durability: Durability,
        sizes: Sizes,
        queue: Queue,
        failure: Arc<Failure>,
    ) -> io::Result<(Writer, Self)> {
        create_folder(folder)?;
        let lock = lock(folder)?;
        let mut recovered = recover(folder, sizes.cache_bytes_max)?;
        if matches!(durability, Durability::Batched { .. }) {
            // A power cut may have taken from a majority what this one knew to be committed. Applied here all the
            // same, it would stay here alone: the next leader says again how far to go.
            recovered.index.committed = None;
        }
        let (tail, index) = Tail::new(folder.to_owned(), sizes.segment_bytes_max, recovered);
        let index = Arc::new(Mutex::new(index));
        let counters = Arc::new(Counters::default());
        counters.segments.store(tail.segments(), Relaxed);
        let writer = Writer {
            folder: folder.to_owned(),
            durability,
            tail,
            index: index.clone(),
            counters: counters.clone(),
            failure,
            unsynced: Unsynced::default(),
            _lock: lock,
        };
        Ok((writer, Self { index, disk: Some(Arc::new(Disk { queue, counters })) }))
    }
}

fn lock(folder: &Path) -> io::Result<File> {
    let path = folder.join(LOCK);
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
    let until = Instant::now() + LOCK_WAIT_MAX;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < until => thread::sleep(LOCK_WAIT_STEP),
            Err(TryLockError::WouldBlock) => {
                let text = format!(
                    "{} is locked: another process uses this log; each node needs a folder of its own",
                    path.display()
                );
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, text));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}
