use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::Path,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use super::{
    Disk, Log,
    metrics::Counters,
    queue::Queue,
    recover::recover,
    segment::SEGMENT_BYTES_MAX,
    tail::Tail,
    writer::{Unsynced, Writer},
};
use crate::Durability;

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
        Self::open_with(folder, durability, SEGMENT_BYTES_MAX)
    }

    /// With segments of another length.
    pub(super) fn open_with(
        folder: &Path,
        durability: Durability,
        segment_bytes_max: u64,
    ) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let lock = lock(folder)?;
        let (tail, index) = Tail::new(folder.to_owned(), segment_bytes_max, recover(folder)?);
        let index = Arc::new(Mutex::new(index));
        let (queue, commands, failure) = Queue::new();
        let counters = Arc::new(Counters::default());
        let writer = Writer {
            folder: folder.to_owned(),
            _lock: lock,
            durability,
            tail,
            index: index.clone(),
            counters: counters.clone(),
            failure,
            unsynced: Unsynced::default(),
        };
        thread::Builder::new().name("convoke-log".into()).spawn(move || writer.run(&commands))?;
        Ok(Self { index, disk: Some(Arc::new(Disk { queue, counters })) })
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
