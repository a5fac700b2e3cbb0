use std::{collections::VecDeque, io, sync::Arc};

use openraft::EntryPayload;

use super::{Entry, LogId, Vote, segment::Reader};
use crate::engine::types::Op;

/// What is in the log: the entries themselves, or where they are on disk.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
    pub(super) purged: Option<LogId>,
    /// The index of the first slot.
    first: u64,
    slots: VecDeque<Slot>,
    /// Slots before this one are on disk only.
    evicted: usize,
    cached_bytes: usize,
    /// What is on disk goes from memory beyond this, the oldest first.
    cache_bytes_max: usize,
}

#[derive(Debug)]
struct Slot {
    id: LogId,
    bytes: usize,
    entry: Option<Entry>,
    place: Option<Place>,
}

/// Where an entry is on disk.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) reader: Arc<Reader>,
    pub(super) offset: u64,
    pub(super) bytes: usize,
}

/// An entry, or where to read it.
#[derive(Debug)]
pub(super) enum Found {
    Here(Entry),
    There(Place),
}

impl Index {
    pub(super) fn new(cache_bytes_max: usize) -> Self {
        Self { cache_bytes_max, ..Self::default() }
    }

    /// Bytes of entries that are in memory.
    #[cfg(test)]
    pub(super) fn cached_bytes(&self) -> usize {
        self.cached_bytes
    }

    /// The last entry, or the last one that was purged.
    pub(super) fn last(&self) -> Option<LogId> {
        self.slots.back().map(|slot| slot.id).or(self.purged)
    }

    /// The index of the first entry.
    pub(super) fn first(&self) -> Option<u64> {
        self.slots.front().map(|slot| slot.id.index)
    }

    pub(super) fn append(&mut self, entry: Entry) -> io::Result<()> {
        let id = entry.log_id;
        if self.slots.is_empty() {
            self.first = id.index;
        }
        let next = self.first + self.slots.len() as u64;
        if id.index != next {
            let text = format!("entry {} does not follow entry {}", id.index, next.wrapping_sub(1));
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let bytes = size(&entry);
        self.cached_bytes += bytes;
        self.slots.push_back(Slot { id, bytes, entry: Some(entry), place: None });
        Ok(())
    }

    /// An entry was written. It may have been truncated or purged meanwhile.
    pub(super) fn place(&mut self, id: LogId, place: Place) {
        let Some(number) = id.index.checked_sub(self.first).and_then(|number| usize::try_from(number).ok())
        else {
            return;
        };
        if let Some(slot) = self.slots.get_mut(number)
            && slot.id == id
        {
            slot.place = Some(place);
        }
        self.evict();
    }

    fn evict(&mut self) {
        while self.cached_bytes > self.cache_bytes_max
            && let Some(slot) = self.slots.get_mut(self.evicted)
            && slot.place.is_some()
        {
            slot.entry = None;
            self.cached_bytes -= slot.bytes;
            self.evicted += 1;
        }
    }

    pub(super) fn truncate_after(&mut self, last: Option<LogId>) {
        let next = last.map_or(0, |last| last.index + 1);
        let kept = usize::try_from(next.saturating_sub(self.first)).unwrap_or(usize::MAX);
        while self.slots.len() > kept
            && let Some(slot) = self.slots.pop_back()
        {
            self.forget(&slot);
        }
        self.evicted = self.evicted.min(self.slots.len());
    }

    pub(super) fn purge(&mut self, upto: LogId) {
        while self.slots.front().is_some_and(|slot| slot.id.index <= upto.index)
            && let Some(slot) = self.slots.pop_front()
        {
            self.forget(&slot);
            self.evicted = self.evicted.saturating_sub(1);
        }
        self.first = self.first.max(upto.index + 1);
        if self.purged < Some(upto) {
            self.purged = Some(upto);
        }
    }

    fn forget(&mut self, slot: &Slot) {
        if slot.entry.is_some() {
            self.cached_bytes -= slot.bytes;
        }
    }

    /// The entries from one index to before another that are there: at least one of those, and no more than
    /// `bytes_max` together.
    pub(super) fn entries(&self, from: u64, to: u64, bytes_max: usize) -> Vec<Found> {
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
            match (&slot.entry, &slot.place) {
                (Some(entry), _) => found.push(Found::Here(entry.clone())),
                (None, Some(place)) => found.push(Found::There(place.clone())),
                (None, None) => unreachable!("only what has a place is evicted"),
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::storage_tests::entries::{entry, id};

    #[test]
    fn the_place_of_an_entry_that_was_cut_off_is_not_that_of_its_successor() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let reader = Arc::new(Reader::open(file.path().to_owned(), 1).unwrap());
        let place = |offset| Place { reader: reader.clone(), offset, bytes: 10 };
        let mut index = Index::new(0);
        index.append(entry(1, 0, b"cut off")).unwrap();
        index.truncate_after(None);
        index.append(entry(2, 0, b"its successor")).unwrap();
        index.place(id(1, 0), place(100));
        assert!(matches!(&index.entries(0, 1, 0)[..], [Found::Here(_)]));
        index.place(id(2, 0), place(200));
        assert!(matches!(&index.entries(0, 1, 0)[..], [Found::There(Place { offset: 200, .. })]));
        assert_eq!(index.cached_bytes, 0);
    }
}
