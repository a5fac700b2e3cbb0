//! Which events each handler of this node has handled: in memory, and in one small record that is written
//! before an event is acknowledged, many events with one write.
mod ranges;
mod turns;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::OnceCell,
    time::{Instant, sleep_until},
};
use tracing::{error, warn};

use self::{ranges::Ranges, turns::Turns};
use super::AWAY_PAUSE;
use crate::{
    Codec, Commit, Committed, Limits, Position, Record as Recorded, Row, StoreError, StoreErrorKind, Writes,
    context::Staging,
    node::NodeInner,
    relay::{Pushed, rows_of},
};

/// Ranges of handled events that are written down. More than can be in flight, so that whatever was handled but not yet
/// acknowledged when the process died is among them.
const WRITTEN_MIN: usize = 1024;

/// After a write that told of so many changes, as under load, the next one waits a little, so that it tells of more.
const CHANGES_MANY: u64 = 8;
/// How long it waits at most. Handlers do not wait for it, only acknowledgements.
const WRITE_PAUSE: Duration = Duration::from_millis(2);

/// The marks of one node.
pub(super) struct Marks {
    scope: Arc<str>,
    written_max: usize,
    loaded: OnceCell<()>,
    state: Mutex<State>,
    /// One write at a time; who waits for its end finds its own marks written, more often than not.
    turns: Turns,
}

/// How a write ended.
enum Wrote {
    /// With this to be pushed.
    Done(Option<Pushed>),
    Overtaken,
    /// The store will never make these writes.
    Refused(String),
    /// The version was another one. Now it is known.
    Conflict,
}

#[derive(Default)]
struct State {
    epoch: u64,
    /// Events whose handlers are all done.
    done: Ranges,
    /// Handlers that are done with an event whose other handlers are not.
    partial: BTreeMap<u64, BTreeSet<String>>,
    changes: u64,
    written: u64,
    /// When the next write should begin, after one that told of many changes.
    next_write: Option<Instant>,
    /// What handlers staged whose marks are not written yet, in order: it is recorded with them.
    rows: Vec<Row>,
}

/// How marking a handler with what it staged ended.
pub(super) enum Marked {
    Done,
    /// The node stops, and nothing is marked.
    Stopping,
    /// Nothing is marked: another writer was faster.
    Overtaken,
    /// Nothing is marked, and it never will be: what was staged cannot be stored.
    Refused(String),
}

/// What is written.
#[derive(Serialize, Deserialize)]
struct Record<'a> {
    epoch: u64,
    done: Vec<(u64, u64)>,
    partial: Cow<'a, BTreeMap<u64, BTreeSet<String>>>,
}

impl Marks {
    pub(super) fn new(node: &NodeInner) -> Self {
        let identity = &node.identity;
        Self {
            scope: format!("{}:{}:{}", identity.namespace, identity.service, identity.node).into(),
            written_max: WRITTEN_MIN.max(node.config.in_flight_max.saturating_mul(2)),
            loaded: OnceCell::new(),
            state: Mutex::default(),
            turns: Turns::default(),
        }
    }

    /// Makes ready for an event. Reads the record at the first one; `false` when the node stops before that.
    pub(super) async fn open(&self, position: Position, node: &NodeInner) -> bool {
        if !self.ready(node).await {
            return false;
        }
        let mut state = self.state();
        if state.epoch != position.epoch {
            // Another stream took its place: its numbers mean other events.
            *state = State {
                epoch: position.epoch,
                changes: state.changes,
                written: state.written,
                rows: mem::take(&mut state.rows),
                ..State::default()
            };
        }
        true
    }

    /// Reads the record if it was not read yet; `false` when the node stops before that.
    pub(super) async fn ready(&self, node: &NodeInner) -> bool {
        self.loaded.initialized() || Box::pin(self.loaded.get_or_try_init(|| self.load(node))).await.is_ok()
    }

    async fn load(&self, node: &NodeInner) -> Result<(), ()> {
        while !node.is_stopping() {
            match node.stores.marks.load(&self.scope).await {
                Ok(None) => return Ok(()),
                Ok(Some((bytes, version))) => {
                    match Codec::MessagePack.decode::<Record<'_>>(&bytes, &Limits::default()) {
                        Ok(record) => self.state().restore(record),
                        Err(error) => {
                            error!(%error, scope = &*self.scope, "the marks are unreadable: events may repeat")
                        }
                    }
                    *self.turns.lock().await.version = Some(version);
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
        state.done.contains(position.sequence)
            || state.partial.get(&position.sequence).is_some_and(|done| done.contains(handler))
    }

    /// The same of an event that may be of a stream that is gone.
    pub(super) fn contains_of_epoch(&self, position: Position, handler: &str) -> bool {
        self.state().epoch == position.epoch && self.contains(position, handler)
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
        state.done.insert(position.sequence);
        state.changes += 1;
    }

    /// Whose marks they are.
    pub(super) fn scope(&self) -> Arc<str> {
        self.scope.clone()
    }

    /// The handler is done with the event, and staged something that is recorded with its mark.
    pub(super) async fn add_staged(
        &self,
        position: Position,
        handler: &str,
        staging: &Staging,
        at_once: bool,
        node: &NodeInner,
    ) -> Marked {
        let rows = match rows_of(staging) {
            Ok(rows) => rows,
            Err(failed) => return Marked::Refused(failed.to_string()),
        };
        if !staging.writes.is_empty() {
            return self.add_with_writes((position, handler), rows, &staging.writes, node).await;
        }
        self.add_with_rows(position, handler, rows);
        if !at_once || self.save(node).await { Marked::Done } else { Marked::Stopping }
    }

    /// Together, so that no write takes the one without the other. Answers how many rows lie before these.
    fn add_with_rows(&self, position: Position, handler: &str, rows: Vec<Row>) -> usize {
        let mut state = self.state();
        let before = state.rows.len();
        state.rows.extend(rows);
        state.partial.entry(position.sequence).or_default().insert(handler.into());
        state.changes += 1;
        before
    }

    /// By itself, because the writes have conditions, and those of one event must not keep others from their marks.
    async fn add_with_writes(
        &self,
        (position, handler): (Position, &str),
        rows: Vec<Row>,
        writes: &[Writes],
        node: &NodeInner,
    ) -> Marked {
        let mut writing = self.turns.lock().await;
        let count = rows.len();
        let before = self.add_with_rows(position, handler, rows); // nobody else writes while the lock is held
        loop {
            match self.write(&mut writing.version, writes, node).await {
                Ok(Wrote::Done(pushed)) => {
                    drop(writing);
                    self.push(pushed, node).await;
                    return Marked::Done;
                }
                Ok(Wrote::Overtaken) => {
                    self.take_back((position, handler), before, count);
                    return Marked::Overtaken;
                }
                Err(()) if node.is_stopping() => {
                    self.take_back((position, handler), before, count);
                    return Marked::Stopping;
                }
                Ok(Wrote::Refused(error)) => {
                    self.take_back((position, handler), before, count);
                    return Marked::Refused(error);
                }
                Ok(Wrote::Conflict) => {}
                Err(()) => node.pause(AWAY_PAUSE).await,
            }
        }
    }

    /// The handler is not done after all.
    fn take_back(&self, (position, handler): (Position, &str), at: usize, rows: usize) {
        let mut state = self.state();
        state.rows.drain(at..at + rows);
        if let Some(done) = state.partial.get_mut(&position.sequence) {
            done.remove(handler);
        }
        state.changes += 1;
    }

    /// Writes the marks down, together with those of whoever waits as well. `false` when the node stops first.
    pub(super) async fn save(&self, node: &NodeInner) -> bool {
        let wanted = self.state().changes;
        while !node.is_stopping() || self.state().written < wanted {
            if self.state().written >= wanted {
                return true;
            }
            let Some(mut writing) = self.turns.lock_or_ended().await else { continue };
            let next_write = self.state().next_write.take();
            if let Some(at) = next_write {
                sleep_until(at).await;
            }
            let wrote = self.write(&mut writing.version, &[], node).await;
            drop(writing);
            match wrote {
                Ok(Wrote::Done(pushed)) => {
                    self.push(pushed, node).await;
                    return true;
                }
                Ok(Wrote::Conflict) => {}
                // there were no writes to be overtaken or refused
                Ok(Wrote::Overtaken | Wrote::Refused(_)) | Err(()) if node.is_stopping() => return false,
                Ok(Wrote::Overtaken | Wrote::Refused(_)) | Err(()) => node.pause(AWAY_PAUSE).await,
            }
        }
        true
    }

    /// One write of all marks, with what was staged. `Err`: not now.
    async fn write(
        &self,
        version: &mut Option<u64>,
        writes: &[Writes],
        node: &NodeInner,
    ) -> Result<Wrote, ()> {
        let (changes, record, rows) = self.record();
        let relay = node.relay.as_ref().filter(|_| !rows.is_empty() || !writes.is_empty());
        let saved = match relay {
            None => node.stores.marks.save(&self.scope, record, *version).await.map(|new| (new, None)),
            Some(relay) => {
                let since = Instant::now();
                let record = Recorded::Marks { scope: &self.scope, record: &record, expected: *version };
                match relay.commit(Commit { record, rows: &rows, writes }).await {
                    Ok(Committed::Stored(stored)) => Ok((stored.version, Some((stored, since)))),
                    Ok(Committed::Overtaken | Committed::Fenced) => return Ok(Wrote::Overtaken),
                    Ok(Committed::Full) => Err(StoreError::refused("the outbox has no room")),
                    Err(error) => Err(error),
                }
            }
        };
        match saved {
            Ok((new, stored)) => {
                *version = Some(new);
                let mut state = self.state();
                let many = changes.saturating_sub(state.written) >= CHANGES_MANY;
                state.next_write = many.then(|| Instant::now() + WRITE_PAUSE);
                state.written = changes;
                state.rows.drain(..rows.len()); // what came since is behind them
                Ok(Wrote::Done(stored.map(|(stored, since)| Pushed { stored, since, rows })))
            }
            Err(error) if error.kind() == StoreErrorKind::Conflict => {
                // Our own write whose answer was lost, or another process: its version is the truth.
                warn!(scope = &*self.scope, "another write of this node's marks was found");
                match node.stores.marks.load(&self.scope).await {
                    Ok(found) => *version = found.map(|(_, version)| version),
                    Err(error) => {
                        warn!(%error, "the marks cannot be read");
                        return Err(());
                    }
                }
                Ok(Wrote::Conflict)
            }
            Err(error) if error.kind() == StoreErrorKind::Refused && !writes.is_empty() => {
                Ok(Wrote::Refused(error.to_string()))
            }
            Err(error) => {
                warn!(%error, "the marks cannot be written, events wait for their acknowledgement");
                Err(())
            }
        }
    }

    async fn push(&self, pushed: Option<Pushed>, node: &NodeInner) {
        if let Some(pushed) = pushed {
            Box::pin(node.push(pushed)).await;
        }
    }

    fn record(&self) -> (u64, Bytes, Vec<Row>) {
        let state = self.state();
        let record = Record {
            epoch: state.epoch,
            done: state.done.newest(self.written_max),
            partial: Cow::Borrowed(&state.partial),
        };
        let bytes = Codec::MessagePack.encode(&record).expect("numbers and names encode");
        (state.changes, bytes, state.rows.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn restore(&mut self, record: Record<'_>) {
        self.epoch = record.epoch;
        self.partial = record.partial.into_owned();
        self.done = record.done.into_iter().collect();
    }
}
