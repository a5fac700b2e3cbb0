use std::{collections::VecDeque, io, path::Path, sync::Arc};

use super::{
    index::{Index, Place},
    record::{self, At, Framed, Head, Record, Unreadable},
    segment::{self, Reader, Segment},
};

/// What an earlier run left.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) index: Index,
    pub(super) segment: Segment,
    /// The last index in the open segment.
    pub(super) last_index: Option<u64>,
    pub(super) closed: VecDeque<Closed>,
}

/// A segment that is not written any more.
#[derive(Debug)]
pub(super) struct Closed {
    pub(super) reader: Arc<Reader>,
    /// The highest index of an entry in it.
    pub(super) last_index: Option<u64>,
}

/// Reads the log of a folder, or begins it.
pub(super) fn recover(folder: &Path, cache_bytes_max: usize) -> io::Result<Recovered> {
    let numbers = segment::numbers(folder)?;
    let mut replay = Replay { index: Index::new(cache_bytes_max), ..Replay::default() };
    let Some((&last, before)) = numbers.split_last() else {
        let head = Head { number: 1, previous_bytes: 0, vote: None, committed: None, purged: None };
        let segment = Segment::create(folder, head)?;
        return Ok(Recovered { index: replay.index, segment, last_index: None, closed: VecDeque::new() });
    };
    for &number in before {
        let reader = Arc::new(Reader::open(segment::path(folder, number), number)?);
        let bytes = reader.read_all()?;
        replay.segment(&reader, &bytes)?;
        let last_index = replay.last_index.take();
        replay.closed.push_back(Closed { reader, last_index });
    }
    let reader = Arc::new(Reader::open(segment::path(folder, last), last)?);
    let bytes = reader.read_all()?;
    let found = replay.segment(&reader, &bytes)?;
    refuse_damage_within(&reader, &bytes, found.end)?;
    replay.refuse_holes(folder)?;
    let end = usize::try_from(found.end).expect("it was read into memory");
    let segment = Segment::reopen(reader, &bytes[..end], found.settled)?;
    Ok(Recovered { index: replay.index, segment, last_index: replay.last_index, closed: replay.closed })
}

/// Where the records of a segment end.
#[derive(Debug, Clone, Copy)]
struct Found {
    end: u64,
    /// What the last of them knew to be on the disk.
    settled: u64,
}

#[derive(Debug, Default)]
struct Replay {
    index: Index,
    /// The highest index in the segment that is read.
    last_index: Option<u64>,
    closed: VecDeque<Closed>,
    /// The segment before this one.
    previous: Option<(Arc<Reader>, Found)>,
}

impl Replay {
    fn segment(&mut self, reader: &Arc<Reader>, bytes: &[u8]) -> io::Result<Found> {
        let mut at = At { segment: reader.number, offset: 0 };
        let mut settled = 0;
        let mut rest = bytes;
        loop {
            match record::read(rest, at) {
                Ok(Framed { record, bytes, settled: then }) => {
                    self.record(reader, at, bytes, record)?;
                    settled = then;
                    at.offset += bytes as u64;
                    rest = &rest[bytes..];
                }
                Err(Unreadable::Unknown(what)) => return Err(damaged(&reader.path, at.offset, &what)),
                Err(Unreadable::Nothing | Unreadable::Broken) if at.offset == 0 => {
                    return Err(damaged(&reader.path, 0, "its first record is not whole"));
                }
                Err(Unreadable::Nothing | Unreadable::Broken) => break,
            }
        }
        let found = Found { end: at.offset, settled };
        self.previous = Some((reader.clone(), found));
        Ok(found)
    }

    fn record(&mut self, reader: &Arc<Reader>, at: At, bytes: usize, record: Record) -> io::Result<()> {
        match record {
            Record::Head(head) if at.offset == 0 => return self.head(reader, head),
            _ if at.offset == 0 => return Err(damaged(&reader.path, 0, "its first record is another")),
            Record::Head(_) => return Err(damaged(&reader.path, at.offset, "it begins a second time")),
            Record::Entry(entry) => {
                let id = entry.log_id;
                self.index
                    .append(entry)
                    .map_err(|error| damaged(&reader.path, at.offset, &error.to_string()))?;
                self.index.place(id, Place { reader: reader.clone(), offset: at.offset, bytes });
                self.last_index = self.last_index.max(Some(id.index));
            }
            Record::Vote(vote) => self.index.vote = Some(vote),
            Record::TruncateAfter(last) => self.index.truncate_after(last),
            Record::Purge(upto) => self.index.purge(upto),
            Record::Committed(committed) => self.index.committed = committed,
        }
        Ok(())
    }

    fn head(&mut self, reader: &Reader, head: Head) -> io::Result<()> {
        if head.number != reader.number {
            return Err(damaged(&reader.path, 0, "it is another segment under this name"));
        }
        match &self.previous {
            None => {
                (self.index.vote, self.index.committed, self.index.purged) =
                    (head.vote, head.committed, head.purged);
            }
            // A segment is on the disk whole before the next one begins: what is missing from it was there.
            Some((previous, found)) if previous.number + 1 != head.number => {
                let text =
                    format!("the segment after it is missing, the next one is {}", reader.path.display());
                return Err(damaged(&previous.path, found.end, &text));
            }
            Some((previous, found)) if found.end != head.previous_bytes => {
                return Err(damaged(&previous.path, found.end, "a record in its middle is not whole"));
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// What is kept begins behind what was purged.
    fn refuse_holes(&self, folder: &Path) -> io::Result<()> {
        let expected = self.index.purged.map_or(0, |purged| purged.index + 1);
        match self.index.first() {
            Some(first) if first > expected => {
                let text = format!("entries {expected} to {} are missing: was a file removed?", first - 1);
                Err(damaged(folder, 0, &text))
            }
            _ => Ok(()),
        }
    }
}

/// A record that is not whole is what a power cut leaves of a batch that was under way, and nobody was told that it
/// was kept: the log ends before it. Unless a record behind it was written when this one was on the disk already.
fn refuse_damage_within(reader: &Reader, bytes: &[u8], end: u64) -> io::Result<()> {
    let from = usize::try_from(end).expect("it was read into memory");
    let to = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0);
    for offset in from..to {
        let at = At { segment: reader.number, offset: offset as u64 };
        if record::intact(&bytes[offset..], at).is_ok_and(|(settled, _)| settled > end) {
            return Err(damaged(&reader.path, end, "a record in its middle is not whole"));
        }
    }
    Ok(())
}

pub(super) fn damaged(path: &Path, offset: u64, what: &str) -> io::Error {
    let advice = "Entries that were acknowledged may be gone, so this node must not vote with it: keep the files for \
                  inspection, start the node in an empty folder as a new member and remove the old one";
    let text = format!("the log is damaged at byte {offset} of {}: {what}. {advice}", path.display());
    io::Error::new(io::ErrorKind::InvalidData, text)
}
