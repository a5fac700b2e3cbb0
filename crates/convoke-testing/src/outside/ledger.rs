use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use convoke_core::{ClaimKey, Codec, Outgoing, StoredOutcome};
use uuid::Uuid;

/// What happened outside, in order, over all lives of a node: it outlives them.
#[derive(Debug, Default)]
pub struct Ledger {
    record: Mutex<Record>,
}

/// What a [`Ledger`] holds.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// Each call that took effect.
    pub done: Vec<Effect>,
    /// How many of them there were at each death of the node.
    pub died_at: Vec<usize>,
}

/// A call that took effect.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// An event was stored, or was there before.
    Published(Stored),
    /// A command was stored, or was there before.
    Enqueued(Stored),
    /// A message went to the dead letters.
    Buried {
        /// Its wire name.
        name: String,
        /// Its id.
        id: Uuid,
    },
    /// A claim ended with this outcome.
    Completed {
        /// Whose.
        key: ClaimKey,
        /// How.
        outcome: StoredOutcome,
    },
    /// How far the handlers of a node have come was stored.
    Marked,
    /// What a test says of its own.
    Noted(String),
}

/// A message that was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its wire name.
    pub name: &'static str,
    /// Its id.
    pub id: Uuid,
    /// The message, encoded.
    pub content: Bytes,
}

impl Stored {
    pub(super) fn of(message: &Outgoing) -> Self {
        let content =
            message.payload.encoded(Codec::default()).map_or_else(|_| Bytes::new(), |(_, bytes)| bytes);
        Self { name: message.name, id: message.envelope.id(), content }
    }
}

impl Ledger {
    /// Adds a line of a test's own.
    pub fn note(&self, line: impl Into<String>) {
        self.add(Effect::Noted(line.into()));
    }

    /// What is in it so far.
    pub fn record(&self) -> Record {
        self.lock().clone()
    }

    pub(super) fn add(&self, effect: Effect) {
        self.lock().done.push(effect);
    }

    pub(super) fn died(&self) {
        let mut record = self.lock();
        let done = record.done.len();
        record.died_at.push(done);
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    /// The lines of a test's own.
    pub fn notes(&self) -> impl Iterator<Item = &str> {
        self.done.iter().filter_map(|effect| match effect {
            Effect::Noted(line) => Some(&**line),
            _ => None,
        })
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Published(Stored { name, id, .. }) => write!(f, "published {name} {id}"),
            Self::Enqueued(Stored { name, id, .. }) => write!(f, "enqueued {name} {id}"),
            Self::Buried { name, id } => write!(f, "buried {name} {id}"),
            Self::Completed { key, .. } => write!(f, "completed {} {}", key.scope, key.key),
            Self::Marked => f.write_str("marked"),
            Self::Noted(line) => f.write_str(line),
        }
    }
}
