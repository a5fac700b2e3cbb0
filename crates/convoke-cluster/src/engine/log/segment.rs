use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    Entry,
    record::{self, At, Head, Record},
};
use crate::engine::snapshot::sync_folder;

/// So many zeros are written and synced ahead of the records, so that syncing a record need not change the file's
/// length, which costs a file system several writes.
const AHEAD_BYTES: u64 = 4 * 1024 * 1024;

const SEGMENT: &str = "log";
const DRAFT: &str = "log-draft";

/// The last file of the log, open for writing.
#[derive(Debug)]
pub(super) struct Segment {
    /// Stands at the end of the records.
    file: File,
    reader: Arc<Reader>,
    /// The end of the records.
    end: u64,
    /// The end of what is known to be on the disk.
    settled: u64,
    /// The end of the zeros.
    filled: u64,
}

impl Segment {
    /// A new one, in its place and on the disk.
    pub(super) fn create(folder: &Path, head: Head) -> io::Result<Self> {
        let number = head.number;
        let mut bytes = Vec::new();
        record::put(&mut bytes, At { segment: number, offset: 0 }, 0, &Record::Head(head))?;
        let draft = folder.join(format!("{number}.{DRAFT}"));
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(&draft)?;
        file.write_all(&bytes)?;
        let end = bytes.len() as u64;
        let filled = fill(&mut file, end, end + AHEAD_BYTES)?;
        file.seek(SeekFrom::Start(end))?;
        file.sync_all()?;
        let path = path(folder, number);
        fs::rename(&draft, &path)?;
        sync_folder(folder)?;
        Ok(Self { file, reader: Arc::new(Reader::open(path, number)?), end, settled: end, filled })
    }

    /// The last one of an earlier run, whose records are `bytes`. What may never have reached the disk is written
    /// again, in its place: a sync that failed once can succeed the next time without having written anything.
    pub(super) fn reopen(reader: Arc<Reader>, bytes: &[u8], settled: u64) -> io::Result<Self> {
        let mut file = OpenOptions::new().write(true).open(&reader.path)?;
        let end = bytes.len() as u64;
        file.seek(SeekFrom::Start(settled))?;
        file.write_all(&bytes[usize::try_from(settled).expect("it was read into memory")..])?;
        file.sync_all()?;
        // What is behind the end may be of a batch that was torn. It becomes zeros before anything is written, lest it
        // be taken for records later.
        Ok(Self { file, reader, end, settled: end, filled: end })
    }

    pub(super) fn reader(&self) -> &Arc<Reader> {
        &self.reader
    }

    pub(super) fn end(&self) -> u64 {
        self.end
    }

    pub(super) fn settled(&self) -> u64 {
        self.settled
    }

    /// Writes records behind the others. They are there for a process that is killed, not for a power cut.
    pub(super) fn write(&mut self, records: &[u8]) -> io::Result<()> {
        let end = self.end + records.len() as u64;
        if end > self.filled {
            self.filled = fill(&mut self.file, self.filled, end + AHEAD_BYTES)?;
            self.file.seek(SeekFrom::Start(self.end))?;
            self.file.sync_all()?;
        }
        self.file.write_all(records)?;
        self.end = end;
        Ok(())
    }

    /// Everything that was written is on the disk afterwards.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        self.settled = self.end;
        Ok(())
    }
}

fn fill(file: &mut File, from: u64, to: u64) -> io::Result<u64> {
    const ZEROS: &[u8] = &[0; 64 * 1024];
    file.seek(SeekFrom::Start(from))?;
    let mut at = from;
    while at < to {
        let some = usize::try_from(to - at).map_or(ZEROS.len(), |left| left.min(ZEROS.len()));
        file.write_all(&ZEROS[..some])?;
        at += some as u64;
    }
    Ok(to)
}

/// A segment, open for reading; also after it was removed.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) path: PathBuf,
    pub(super) number: u64,
    file: Mutex<File>,
}

impl Reader {
    pub(super) fn open(path: PathBuf, number: u64) -> io::Result<Self> {
        let file = Mutex::new(File::open(&path)?);
        Ok(Self { path, number, file })
    }

    /// All of it.
    pub(super) fn read_all(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(0))?;
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// One entry.
    pub(super) fn entry(&self, offset: u64, bytes: usize) -> io::Result<Entry> {
        let mut framed = vec![0; bytes];
        {
            let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            file.seek(SeekFrom::Start(offset))?;
            file.read_exact(&mut framed)?;
        }
        match record::read(&framed, At { segment: self.number, offset }) {
            Ok(record::Framed { record: Record::Entry(entry), .. }) => Ok(entry),
            _ => Err(super::recover::damaged(&self.path, offset, "an entry that was written is not there")),
        }
    }
}

pub(super) fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:020}.{SEGMENT}"))
}

/// The numbers of the segments in a folder, in order. Drafts are removed.
pub(super) fn numbers(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        match (path.extension().and_then(|extension| extension.to_str()), stem) {
            (Some(DRAFT), _) => fs::remove_file(&path)?,
            (Some(SEGMENT), Some(number)) => numbers.push(number),
            _ => {}
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}
