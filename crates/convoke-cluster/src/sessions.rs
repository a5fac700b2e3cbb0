//! What was answered to whom, so that a proposal that comes twice is applied once.

mod image;

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use imbl::OrdMap;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::engine::types::{Applied, Origin};

/// Clients whose answers are kept. Beyond it the one that was silent longest is dropped.
pub(crate) const CLIENTS_MAX: usize = 10_000;
/// Answers kept for one client: what it may have under way at once.
pub(crate) const ANSWERS_MAX: usize = 16_384;
/// Bytes of all the answers that are kept, with what keeping one takes.
pub(crate) const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What an answer takes beside its bytes.
const KEPT_BYTES: usize = 80;

/// The answers of the latest proposals of each client.
///
/// A client that was dropped is not forgotten as one that may come back: what was dropped began before the place in
/// the log where it was last heard ([`horizon`](Self::horizon)), and who claims to have begun before that place and
/// is not known may have been dropped. It is answered so, and nothing is applied.
#[derive(Debug, Clone)]
pub(crate) struct Sessions {
    limits: Limits,
    clients: OrdMap<Uuid, Arc<Session>>,
    /// Who was heard last at which index. Derived from `clients`.
    heard: OrdMap<u64, Uuid>,
    /// Derived from `clients`.
    answer_bytes: usize,
    /// Where the client that was dropped last was heard last.
    horizon: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Limits {
    clients: usize,
    answers: usize,
    answer_bytes: usize,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Session {
    heard: u64,
    /// Nothing below is kept, nor applied any more.
    floor: u64,
    answers: BTreeMap<u64, Kept>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    index: u64,
    term: u64,
    answer: Bytes,
}

/// What to do with a proposal.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It is new.
    Never,
    /// It was applied, and this was its answer.
    Before(Applied),
    /// It may have been applied.
    TooOld,
}

impl Default for Sessions {
    fn default() -> Self {
        Self::with_limits(CLIENTS_MAX, ANSWERS_MAX, ANSWER_BYTES_MAX)
    }
}

impl Sessions {
    fn with_limits(clients: usize, answers: usize, answer_bytes: usize) -> Self {
        Self {
            limits: Limits { clients, answers, answer_bytes },
            clients: OrdMap::new(),
            heard: OrdMap::new(),
            answer_bytes: 0,
            horizon: 0,
        }
    }

    /// Whether this was applied before.
    pub(crate) fn seen(&self, origin: &Origin) -> Seen {
        let Some(session) = self.clients.get(&origin.client) else {
            return if origin.born < self.horizon { Seen::TooOld } else { Seen::Never };
        };
        match session.answers.get(&origin.sequence) {
            Some(kept) => Seen::Before(kept.applied()),
            None if origin.sequence < session.floor => Seen::TooOld,
            None => Seen::Never,
        }
    }

    /// Keeps the answer of what was applied now.
    pub(crate) fn keep(&mut self, origin: &Origin, applied: &Applied) {
        let shared = self.clients.entry(origin.client).or_default();
        let session = Arc::make_mut(shared);
        self.heard.remove(&session.heard);
        session.heard = applied.index;
        self.heard.insert(applied.index, origin.client);

        // Its own answer stays, whatever the client says that it knows.
        session.floor = session.floor.max(origin.answered_below.min(origin.sequence));
        while session.answers.first_key_value().is_some_and(|(&sequence, _)| sequence < session.floor) {
            self.answer_bytes -= session.drop_oldest();
        }
        let kept = Kept::of(applied);
        self.answer_bytes += kept.bytes();
        session.answers.insert(origin.sequence, kept);
        while session.answers.len() > self.limits.answers {
            self.answer_bytes -= session.drop_oldest();
        }
        self.drop_silent(origin.client);
    }

    /// Back within the limits, at the expense of who was silent longest.
    fn drop_silent(&mut self, speaking: Uuid) {
        while self.clients.len() > self.limits.clients || self.answer_bytes > self.limits.answer_bytes {
            let Some(&(heard, client)) = self.heard.get_min() else { return };
            if client == speaking {
                break;
            }
            self.heard.remove(&heard);
            if let Some(session) = self.clients.remove(&client) {
                self.answer_bytes -= session.bytes();
            }
            self.horizon = self.horizon.max(heard);
        }
        let Some(session) = self.clients.get_mut(&speaking) else { return };
        while self.answer_bytes > self.limits.answer_bytes {
            self.answer_bytes -= Arc::make_mut(session).drop_oldest();
        }
    }
}

impl Session {
    /// The bytes it had.
    fn drop_oldest(&mut self) -> usize {
        let Some((sequence, kept)) = self.answers.pop_first() else { return 0 };
        self.floor = self.floor.max(sequence + 1);
        kept.bytes()
    }

    fn bytes(&self) -> usize {
        self.answers.values().map(Kept::bytes).sum()
    }
}

impl Kept {
    fn of(applied: &Applied) -> Self {
        Self { index: applied.index, term: applied.term, answer: applied.answer.clone() }
    }

    fn bytes(&self) -> usize {
        KEPT_BYTES + self.answer.len()
    }

    fn applied(&self) -> Applied {
        Applied { index: self.index, term: self.term, answer: self.answer.clone(), forgotten: false }
    }
}

#[cfg(test)]
mod tests;
