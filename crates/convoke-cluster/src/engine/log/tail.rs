use std::{collections::VecDeque, fs, io, path::PathBuf};

use super::{
    LogId, Vote,
    index::{Index, Place},
    record::{self, At, Head, Record},
    recover::{Closed, Recovered},
    segment::Segment,
};
use crate::engine::snapshot::sync_folder;

/// The end of the log, where it grows, and the files it consists of.
#[derive(Debug)]
pub(super) struct Tail {
    folder: PathBuf,
    segment_bytes_max: u64,
    segment: Segment,
    /// The highest index in the open segment.
    last_index: Option<u64>,
    closed: VecDeque<Closed>,
    /// Records that are not written.
    pending: Vec<u8>,
    // What the head of the next segment says.
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
}

impl Tail {
    pub(super) fn new(folder: PathBuf, segment_bytes_max: u64, recovered: Recovered) -> (Self, Index) {
        let Recovered { index, segment, last_index, closed } = recovered;
        let (vote, committed, purged) = (index.vote, index.committed, index.purged);
        let pending = Vec::new();
        let tail =
            Self { folder, segment_bytes_max, segment, last_index, closed, pending, vote, committed, purged };
        (tail, index)
    }

    /// Takes a record, to be written with the others. The answer is where it will be.
    pub(super) fn put(&mut self, record: &Record) -> io::Result<Place> {
        let reader = self.segment.reader().clone();
        let offset = self.segment.end() + self.pending.len() as u64;
        let at = At { segment: reader.number, offset };
        let bytes = record::put(&mut self.pending, at, self.segment.settled(), record)?;
        match record {
            Record::Entry(entry) => self.last_index = self.last_index.max(Some(entry.log_id.index)),
            Record::Vote(vote) => self.vote = Some(*vote),
            Record::Committed(committed) => self.committed = *committed,
            Record::Purge(upto) => self.purged = self.purged.max(Some(*upto)),
            Record::Head(_) | Record::TruncateAfter(_) => {}
        }
        Ok(Place { reader, offset, bytes })
    }

    /// Bytes that are not written.
    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Writes what is pending. A process that is killed keeps it, a power cut does not.
    pub(super) fn write(&mut self) -> io::Result<()> {
        self.segment.write(&self.pending)?;
        self.pending.clear();
        Ok(())
    }

    /// What was written is on the disk afterwards.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.segment.sync()
    }

    /// Whether the open segment is long enough.
    pub(super) fn is_full(&self) -> bool {
        self.segment.end() >= self.segment_bytes_max
    }

    /// Goes on in a new segment. The old one must be synced, and nothing may be pending: that a segment is followed
    /// by another says that it is whole.
    pub(super) fn roll(&mut self) -> io::Result<()> {
        let head = Head {
            number: self.segment.reader().number + 1,
            previous_bytes: self.segment.end(),
            vote: self.vote,
            committed: self.committed,
            purged: self.purged,
        };
        let segment = Segment::create(&self.folder, head)?;
        let full = std::mem::replace(&mut self.segment, segment);
        self.closed.push_back(Closed { reader: full.reader().clone(), last_index: self.last_index.take() });
        Ok(())
    }

    /// Whether a segment holds nothing that is not purged.
    pub(super) fn has_purged(&self) -> bool {
        self.closed.front().is_some_and(|oldest| self.is_purged(oldest))
    }

    fn is_purged(&self, closed: &Closed) -> bool {
        closed.last_index <= self.purged.map(|purged| purged.index)
    }

    /// Removes the segments that hold nothing else, from the oldest on. That they are purged must be synced.
    pub(super) fn remove_purged(&mut self) -> io::Result<()> {
        let mut removed = false;
        while let Some(oldest) =
            self.closed.pop_front_if(|oldest| oldest.last_index <= self.purged.map(|id| id.index))
        {
            fs::remove_file(&oldest.reader.path)?;
            removed = true;
        }
        if removed { sync_folder(&self.folder) } else { Ok(()) }
    }

    /// Files there are.
    pub(super) fn segments(&self) -> u64 {
        self.closed.len() as u64 + 1
    }
}
