use std::{collections::VecDeque, io};

use openraft::EntryPayload;

use super::{Entry, LogId, Vote};
use crate::engine::types::Op;

/// What is in the log, in memory.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
    pub(super) purged: Option<LogId>,
    /// The index of the first slot.
    first: u64,
    slots: VecDeque<Slot>,
}

#[derive(Debug)]
struct Slot {
    entry: Entry,
    bytes: usize,
}

impl Index {
    /// The last entry, or the last one that was purged.
    pub(super) fn last(&self) -> Option<LogId> {
        self.slots.back().map(|slot| slot.entry.log_id).or(self.purged)
    }

    pub(super) fn append(&mut self, entry: Entry) -> io::Result<()> {
        let index = entry.log_id.index;
        if self.slots.is_empty() {
            self.first = index;
        }
        let next = self.first + self.slots.len() as u64;
        if index != next {
            let text = format!("entry {index} of the log does not follow entry {}", next.wrapping_sub(1));
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let bytes = size(&entry);
        self.slots.push_back(Slot { entry, bytes });
        Ok(())
    }

    pub(super) fn truncate_after(&mut self, last: Option<LogId>) {
        let next = last.map_or(0, |last| last.index + 1);
        let kept = usize::try_from(next.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.slots.truncate(kept);
    }

    pub(super) fn purge(&mut self, upto: LogId) {
        let next = upto.index + 1;
        let gone = usize::try_from(next.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.slots.drain(..gone.min(self.slots.len()));
        self.first = self.first.max(next);
        if self.purged < Some(upto) {
            self.purged = Some(upto);
        }
    }

    /// The entries from one index to before another that are there: at least one of those, and no more than
    /// `bytes_max` together.
    pub(super) fn entries(&self, from: u64, to: u64, bytes_max: usize) -> Vec<Entry> {
        let end = self.first + self.slots.len() as u64;
        let from = from.clamp(self.first, end);
        let to = to.clamp(from, end);
        let place = |index: u64| usize::try_from(index - self.first).expect("within what is in memory");
        let mut room = bytes_max;
        let mut found = Vec::new();
        for slot in self.slots.range(place(from)..place(to)) {
            if slot.bytes > room && !found.is_empty() {
                break;
            }
            room = room.saturating_sub(slot.bytes);
            found.push(slot.entry.clone());
        }
        found
    }
}

/// About what an entry takes in memory and on the wire.
pub(super) fn size(entry: &Entry) -> usize {
    const FRAME: usize = 64;
    FRAME
        + match &entry.payload {
            EntryPayload::Blank => 0,
            EntryPayload::Membership(members) => members.nodes().count() * 2 * FRAME,
            EntryPayload::Normal(proposal) => match &proposal.op {
                Op::Tick => 0,
                Op::Machine(command) | Op::Lock(command) => command.len(),
            },
        }
}
