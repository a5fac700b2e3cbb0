use std::ops::Bound;

use bytes::Bytes;
use imbl::OrdMap;

use super::{Change, Changes, Entry, Machine};
use crate::kv::{
    Page, Value,
    limits::{PAGE_BYTES_MAX, PAGE_VISITS_MAX},
};

impl Machine {
    /// What stands under a key whose time is not over.
    pub(in crate::kv) fn get(&self, key: &[u8], now_ms: u64) -> Option<Value> {
        self.entries.get(key).filter(|entry| !entry.is_over(now_ms)).map(|entry| entry.told(now_ms))
    }

    /// At most `max` keys that start with `prefix`, behind `after`.
    pub(in crate::kv) fn page(&self, prefix: &[u8], after: Option<&[u8]>, max: usize, now_ms: u64) -> Page {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let mut page = Page::default();
        let (mut bytes, mut visits, mut last) = (0, 0, None::<&Bytes>);
        for (key, entry) in self.entries.range::<_, [u8]>((start, Bound::Unbounded)) {
            if !key.starts_with(prefix) {
                return page;
            }
            let size = key.len() + entry.value.len();
            let is_full = page.entries.len() >= max || (bytes > 0 && bytes + size > PAGE_BYTES_MAX);
            if is_full || visits >= PAGE_VISITS_MAX {
                page.next = last.cloned();
                return page;
            }
            (visits, last) = (visits + 1, Some(key));
            if !entry.is_over(now_ms) {
                bytes += size;
                page.entries.push((key.clone(), entry.told(now_ms)));
            }
        }
        page
    }

    /// What happened lately on this node.
    pub(in crate::kv) fn changes(&self) -> &Changes {
        &self.changes
    }

    /// The place in the log of the latest command.
    pub(in crate::kv) fn index(&self) -> u64 {
        self.index
    }
}

/// What was there at one moment, told as changes. Holds on to the values of that moment until it is told.
pub(in crate::kv) struct Remaining {
    entries: OrdMap<Bytes, Entry>,
    prefix: Bytes,
    last: Option<Bytes>,
    now_ms: u64,
}

impl Machine {
    pub(in crate::kv) fn remaining(&self, prefix: Bytes, now_ms: u64) -> Remaining {
        Remaining { entries: self.entries.clone(), prefix, last: None, now_ms }
    }
}

impl Iterator for Remaining {
    type Item = Change;

    fn next(&mut self) -> Option<Change> {
        let start = self.last.as_deref().map_or(Bound::Included(&*self.prefix), Bound::Excluded);
        let rest = self.entries.range::<_, [u8]>((start, Bound::Unbounded));
        let mut there = rest.take_while(|(key, _)| key.starts_with(&self.prefix));
        let (key, entry) = there.find(|(_, entry)| !entry.is_over(self.now_ms))?;
        self.last = Some(key.clone());
        Some(Change::Put { key: key.clone(), value: entry.told(self.now_ms) })
    }
}
