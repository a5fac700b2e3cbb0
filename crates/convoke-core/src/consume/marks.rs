//! Which events each handler of this node has handled: in memory, and in one small record that is written
//! before an event is acknowledged, many events with one write.
use std::{
    collections::{BTreeMap, BTreeSet, HashSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;
use tracing::{error, warn};

use super::AWAY_PAUSE;
use crate::{Codec, Limits, Position, StoreErrorKind, node::NodeInner};

/// Handled events that stay in memory: a lost acknowledgement brings an event again within the ack wait.
const RECENT_MAX: usize = 65_536;

/// Handled events that are written down. More than can be in flight, so that whatever was handled but not yet
/// acknowledged when the process died is among them.
const WRITTEN_MIN: usize = 1024;

/// The marks of one node.
pub(super) struct Marks {
    scope: String,
    written_max: usize,
    loaded: OnceCell<()>,
    state: Mutex<State>,
    /// One write at a time; who waits for it finds its own marks written, more often than not.
    writing: tokio::sync::Mutex<Option<u64>>, // the record's version
}

#[derive(Default)]
struct State {
    epoch: u64,
    /// Events whose handlers are all done, in the order they were done.
    recent: VecDeque<u64>,
    known: HashSet<u64>,
    /// Handlers that are done with an event whose other handlers are not.
    partial: BTreeMap<u64, BTreeSet<String>>,
    changes: u64,
    written: u64,
}

/// What is written.
#[derive(Serialize, Deserialize)]
struct Record {
    epoch: u64,
    done: Vec<u64>,
    partial: BTreeMap<u64, BTreeSet<String>>,
}

impl Marks {
    pub(super) fn new(node: &NodeInner) -> Self {
        let identity = &node.identity;
        Self {
            scope: format!("{}:{}:{}", identity.namespace, identity.service, identity.node),
            written_max: WRITTEN_MIN.max(node.config.in_flight_max.saturating_mul(2)),
            loaded: OnceCell::new(),
            state: Mutex::default(),
            writing: tokio::sync::Mutex::new(None),
        }
    }

    /// Makes ready for an event. Reads the record at the first one; `false` when the node stops before that.
    pub(super) async fn open(&self, position: Position, node: &NodeInner) -> bool {
        if self.loaded.get_or_try_init(|| self.load(node)).await.is_err() {
            return false;
        }
        let mut state = self.state();
        if state.epoch != position.epoch {
            // Another stream took its place: its numbers mean other events.
            *state = State {
                epoch: position.epoch,
                changes: state.changes,
                written: state.written,
                ..State::default()
            };
        }
        true
    }

    async fn load(&self, node: &NodeInner) -> Result<(), ()> {
        while !node.is_stopping() {
            match node.stores.marks.load(&self.scope).await {
                Ok(None) => return Ok(()),
                Ok(Some((bytes, version))) => {
                    match Codec::MessagePack.decode::<Record>(&bytes, &Limits::default()) {
                        Ok(record) => self.state().restore(record),
                        Err(error) => {
                            error!(%error, scope = self.scope, "the marks are unreadable: events may repeat")
                        }
                    }
                    *self.writing.lock().await = Some(version);
                    return Ok(());
                }
                Err(error) => {
                    warn!(%error, "the marks cannot be read, events wait");
                    node.pause(AWAY_PAUSE).await;
                }
            }
        }
        Err(())
    }

    /// Whether the handler is done with the event.
    pub(super) fn contains(&self, position: Position, handler: &str) -> bool {
        let state = self.state();
        state.known.contains(&position.sequence)
            || state.partial.get(&position.sequence).is_some_and(|done| done.contains(handler))
    }

    /// The handler is done with the event.
    pub(super) fn add(&self, position: Position, handler: &str) {
        let mut state = self.state();
        state.partial.entry(position.sequence).or_default().insert(handler.into());
        state.changes += 1;
    }

    /// All handlers are done with the event.
    pub(super) fn close(&self, position: Position) {
        let mut state = self.state();
        state.partial.remove(&position.sequence);
        state.remember(position.sequence);
        state.changes += 1;
    }

    /// Writes the marks down, together with those of whoever waits as well. `false` when the node stops first.
    pub(super) async fn save(&self, node: &NodeInner) -> bool {
        let wanted = self.state().changes;
        while !node.is_stopping() || self.state().written < wanted {
            let mut version = self.writing.lock().await;
            if self.state().written >= wanted {
                return true;
            }
            let (changes, record) = self.record();
            match node.stores.marks.save(&self.scope, record, *version).await {
                Ok(new) => {
                    *version = Some(new);
                    self.state().written = changes;
                    return true;
                }
                Err(error) if error.kind() == StoreErrorKind::Conflict => {
                    // Our own write whose answer was lost, or another process: its version is the truth.
                    let found = node.stores.marks.load(&self.scope).await;
                    warn!(scope = self.scope, "another write of this node's marks was found");
                    if let Ok(found) = found {
                        *version = found.map(|(_, version)| version);
                    }
                }
                Err(error) => {
                    warn!(%error, "the marks cannot be written, events wait for their acknowledgement");
                    if node.is_stopping() {
                        return false;
                    }
                    drop(version);
                    node.pause(AWAY_PAUSE).await;
                }
            }
        }
        true
    }

    fn record(&self) -> (u64, Bytes) {
        let state = self.state();
        let skip = state.recent.len().saturating_sub(self.written_max);
        let record = Record {
            epoch: state.epoch,
            done: state.recent.iter().skip(skip).copied().collect(),
            partial: state.partial.clone(),
        };
        (state.changes, Codec::MessagePack.encode(&record).expect("numbers and names encode"))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn restore(&mut self, record: Record) {
        self.epoch = record.epoch;
        self.partial = record.partial;
        record.done.into_iter().for_each(|sequence| self.remember(sequence));
    }

    fn remember(&mut self, sequence: u64) {
        if !self.known.insert(sequence) {
            return;
        }
        self.recent.push_back(sequence);
        if self.recent.len() > RECENT_MAX
            && let Some(oldest) = self.recent.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_and_the_newest_stay() {
        let mut state = State::default();
        let end = RECENT_MAX as u64 + 10;
        (0..end).for_each(|sequence| state.remember(sequence));
        assert_eq!((state.recent.len(), state.known.len()), (RECENT_MAX, RECENT_MAX));
        assert!(state.known.contains(&(end - 1)) && !state.known.contains(&0));
    }
}
