mod changes;
mod command;
mod fences;
mod image;
mod read;

use std::time::Duration;

use bytes::Bytes;
pub use changes::Change;
pub(super) use changes::{Changes, Lag};
pub(crate) use command::{Answer, Command, Refusal, When};
use fences::Fences;
pub use image::Picture;
use imbl::{OrdMap, OrdSet};
pub(super) use read::Remaining;
use serde::{Deserialize, Serialize};

use super::{
    Value,
    limits::{BYTES_MAX, EXPIRED_PER_ENTRY},
};
use crate::{At, StateMachine, coding};

/// The replicated half of the store: what [`Kv`](crate::kv::Kv) writes to and reads from.
#[derive(Debug, Clone)]
pub struct Machine {
    entries: OrdMap<Bytes, Entry>,
    /// When which key ends. Derived from `entries`.
    expiries: OrdSet<(u64, Bytes)>,
    /// Keys and values. Derived from `entries`.
    bytes: u64,
    bytes_max: u64,
    fences: Fences,
    /// The place of the latest command.
    index: u64,
    /// Of this node, not replicated.
    changes: Changes,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    value: Bytes,
    version: u64,
    ends_ms: Option<u64>,
}

impl Default for Machine {
    fn default() -> Self {
        Self::with_bytes_max(BYTES_MAX)
    }
}

impl Machine {
    /// An empty store that takes at most so many bytes of keys and values. Must be the same on all members.
    #[must_use]
    pub fn with_bytes_max(bytes_max: u64) -> Self {
        Self {
            entries: OrdMap::new(),
            expiries: OrdSet::new(),
            bytes: 0,
            bytes_max,
            fences: Fences::default(),
            index: 0,
            changes: Changes::default(),
        }
    }

    fn run(&mut self, at: At, command: Command) -> Answer {
        if let Some(refusal) = command.refusal() {
            return Answer::Refused(refusal);
        }
        let (key, when, fence) = command.target();
        if let Some((scope, token)) = fence
            && let Err(newest) = self.fences.admit(scope, *token)
        {
            return Answer::Fenced { newest };
        }
        if self.entries.get(key).is_some_and(|entry| entry.is_over(at.steady_ms)) {
            self.expire(at, &key.clone());
        }
        let current = self.entries.get(key).map(|entry| entry.version);
        if !when.holds(current) {
            return Answer::Conflict { current };
        }
        match command {
            Command::Put { key, value, ttl_ms, .. } => self.put(at, key, value, ttl_ms),
            Command::Delete { key, .. } => self.delete(at, key),
        }
    }

    fn put(&mut self, at: At, key: Bytes, value: Bytes, ttl_ms: Option<u64>) -> Answer {
        let before = self.entries.get(&key).map_or(0, |entry| entry.bytes(&key));
        let ends_ms = ttl_ms.map(|ttl| at.steady_ms.saturating_add(ttl));
        let entry = Entry { value, version: at.index, ends_ms };
        let after = entry.bytes(&key);
        if after > before && self.bytes - before + after > self.bytes_max {
            return Answer::Refused(Refusal::Full);
        }
        let existed = self.remove(&key).is_some();
        self.bytes += after;
        ends_ms.and_then(|ends| self.expiries.insert((ends, key.clone())));
        self.changes.push(Change::Put { key: key.clone(), value: entry.told(at.steady_ms) });
        self.entries.insert(key, entry);
        Answer::Done { index: at.index, existed }
    }

    fn delete(&mut self, at: At, key: Bytes) -> Answer {
        let existed = self.remove(&key).is_some();
        if existed {
            self.changes.push(Change::Deleted { key, index: at.index });
        }
        Answer::Done { index: at.index, existed }
    }

    fn expire(&mut self, at: At, key: &Bytes) {
        if self.remove(key).is_some() {
            self.changes.push(Change::Expired { key: key.clone(), index: at.index });
        }
    }

    /// Keeps what is derived in step.
    fn remove(&mut self, key: &Bytes) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        self.bytes -= entry.bytes(key);
        entry.ends_ms.and_then(|ends| self.expiries.remove(&(ends, key.clone())));
        Some(entry)
    }
}

impl StateMachine for Machine {
    type Image = Picture;

    fn apply(&mut self, at: At, command: &[u8]) -> Bytes {
        self.index = at.index;
        let answer = match coding::decode(command) {
            Some(command) => self.run(at, command),
            None => Answer::Refused(Refusal::Unreadable),
        };
        coding::encode(&answer)
    }

    fn tick(&mut self, at: At) {
        self.index = at.index;
        for _ in 0..EXPIRED_PER_ENTRY {
            match self.expiries.get_min().cloned() {
                Some((ends, key)) if ends <= at.steady_ms => self.expire(at, &key),
                _ => return,
            }
        }
    }

    fn next_expiry_ms(&self) -> Option<u64> {
        self.expiries.get_min().map(|(ends, _)| *ends)
    }

    fn image(&self) -> Self::Image {
        Picture::of(self)
    }

    fn aside(&self) -> Option<Self> {
        // Shares what it holds, which is replaced as a whole.
        Some(self.clone())
    }

    fn restore(&mut self, image: &mut dyn std::io::Read) -> std::io::Result<()> {
        self.become_image(image)
    }
}

impl Entry {
    fn is_over(&self, now_ms: u64) -> bool {
        self.ends_ms.is_some_and(|ends| ends <= now_ms)
    }

    fn bytes(&self, key: &Bytes) -> u64 {
        (key.len() + self.value.len()) as u64
    }

    fn told(&self, now_ms: u64) -> Value {
        let remaining = self.ends_ms.map(|ends| Duration::from_millis(ends.saturating_sub(now_ms)));
        Value { bytes: self.value.clone(), version: self.version, remaining }
    }
}

#[cfg(test)]
mod tests;
