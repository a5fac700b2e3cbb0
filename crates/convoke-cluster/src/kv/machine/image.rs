use std::io::{self, Read, Write};

use bytes::Bytes;
use imbl::OrdMap;

use super::{Entry, Fences, Machine};
use crate::{
    Image,
    coding::{self, damaged},
    kv::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX},
};

const VERSION: u8 = 1;
/// The longest record: one key with its value, and their numbers.
const RECORD_BYTES_MAX: usize = KEY_BYTES_MAX + VALUE_BYTES_MAX + 64;

/// The store between two commands. Shares what it can with the store that goes on.
#[derive(Debug)]
pub struct Picture {
    entries: OrdMap<Bytes, Entry>,
    fences: Fences,
    index: u64,
}

impl Picture {
    pub(super) fn of(machine: &Machine) -> Self {
        let Machine { entries, fences, index, .. } = machine;
        Self { entries: entries.clone(), fences: fences.clone(), index: *index }
    }
}

impl Image for Picture {
    fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        coding::write_version(to, VERSION)?;
        coding::write_record(to, &self.index)?;
        self.fences.write(to)?;
        coding::write_count(to, self.entries.len())?;
        self.entries.iter().try_for_each(|entry| coding::write_record(to, &entry))
    }
}

impl Machine {
    pub(super) fn become_image(&mut self, from: &mut dyn Read) -> io::Result<()> {
        coding::read_version(from, "an image of the key-value store", VERSION)?;
        let mut machine = Self::with_bytes_max(self.bytes_max);
        machine.index = coding::read_record(from, 16)?;
        machine.fences = Fences::read(from)?;
        for _ in 0..coding::read_count(from, u64::MAX)? {
            machine.put_back(from)?;
        }
        // Who watches goes on watching: it is told what it missed.
        machine.changes = std::mem::take(&mut self.changes);
        machine.changes.jump(machine.index);
        *self = machine;
        Ok(())
    }

    fn put_back(&mut self, from: &mut dyn Read) -> io::Result<()> {
        let (key, entry): (Bytes, Entry) = coding::read_record(from, RECORD_BYTES_MAX)?;
        if self.entries.get_max().is_some_and(|(last, _)| *last >= key) {
            return Err(damaged("keys that are not in order"));
        }
        self.bytes += entry.bytes(&key);
        entry.ends_ms.and_then(|ends| self.expiries.insert((ends, key.clone())));
        self.entries.insert(key, entry);
        Ok(())
    }
}
