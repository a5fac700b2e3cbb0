//! The outbox of stores within one process: for tests, since it ends with the process.
use std::{
    collections::{HashMap, HashSet, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
};

use tokio::time::Instant;
use uuid::Uuid;

use super::{InProcessStores, State};
use crate::{
    Batch, BoxFuture, Commit, Committed, Hold, Outbox, OutboxStore, Record, Row, Settle, StoreError, Stored,
    StoredOutcome, Taken, Turn,
};

/// Slots, so that tests see several.
const SLOTS: u16 = 4;
/// Commits without a record that are known when they are repeated.
const CALLS_MAX: usize = 1024;

/// The rows of all services.
#[derive(Debug, Default)]
pub(super) struct Rooms {
    rooms: HashMap<(String, u16), Room>,
    calls: VecDeque<Uuid>,
    /// Names places: it only grows.
    places: u64,
}

/// One slot of one service.
#[derive(Debug, Default)]
struct Room {
    rows: VecDeque<Waiting>,
    parked: usize,
    relay: Option<Uuid>,
    until: Option<Instant>,
    fence: u64,
}

#[derive(Debug)]
struct Waiting {
    place: String,
    row: Row,
    since: Instant,
}

impl Room {
    fn is_free_for(&self, relay: Uuid, now: Instant) -> bool {
        self.relay == Some(relay) || self.until.is_none_or(|until| until <= now)
    }

    fn lease(&mut self, outbox: &Outbox, now: Instant) -> u64 {
        self.fence += 1;
        (self.relay, self.until) = (Some(outbox.relay), Some(now + outbox.lease));
        self.fence
    }

    fn is_held(&self, outbox: &Outbox, fence: u64) -> bool {
        self.relay == Some(outbox.relay) && self.fence == fence
    }

    fn end_lease(&mut self) {
        (self.relay, self.until) = (None, None);
    }

    fn taken(&self, outbox: &Outbox, fence: Option<u64>, now: Instant) -> Taken {
        let rows = self.rows.iter().take(outbox.batch_max);
        let rows: Vec<_> = rows.map(|waiting| (waiting.place.clone(), waiting.row.clone())).collect();
        Taken {
            waiting: self.rows.len() as u64,
            oldest: self.rows.front().map(|waiting| now - waiting.since),
            parked: self.parked as u64,
            batch: fence.filter(|_| !rows.is_empty()).map(|fence| Batch { fence, rows }),
        }
    }
}

impl State {
    fn commit(&mut self, outbox: &Outbox, commit: Commit<'_>) -> Result<Committed, StoreError> {
        if !commit.writes.is_empty() {
            return Err(StoreError::refused("in-process stores take no writes of an application"));
        }
        let slot = slot_of(commit.record);
        let known = match commit.record {
            Record::Alone { call, .. } => self.outbox.calls.contains(&call),
            Record::Claim { key, .. } => self.records.get(key).is_some_and(|record| record.outcome.is_some()),
            Record::Marks { .. } => false,
        };
        let waiting = self.outbox.room(outbox, slot).rows.len() + commit.rows.len();
        if !known && waiting as u64 > outbox.rows_max {
            return Ok(Committed::Full);
        }
        let mut version = 0;
        match commit.record {
            Record::Claim { key, holder, outcome, retention } => {
                if outcome.answer.len() > StoredOutcome::BYTES_MAX {
                    return Err(StoreError::refused("the outcome is larger than 256 KiB"));
                }
                if !self.complete(key, holder, outcome.clone(), retention) {
                    return Ok(Committed::Fenced);
                }
            }
            Record::Marks { scope, record, expected } => {
                version = self.save(scope, record.clone(), expected)?
            }
            Record::Alone { call, .. } => self.outbox.remember(call),
        }
        let rows = if known { &[] } else { commit.rows };
        Ok(Committed::Stored(self.outbox.add(outbox, slot, version, rows)))
    }
}

impl Rooms {
    pub(super) fn waiting(&self) -> usize {
        self.rooms.values().map(|room| room.rows.len()).sum()
    }

    fn room(&mut self, outbox: &Outbox, slot: u16) -> &mut Room {
        self.rooms.entry((outbox.scope.clone(), slot)).or_default()
    }

    fn remember(&mut self, call: Uuid) {
        if self.calls.len() == CALLS_MAX {
            self.calls.pop_front();
        }
        self.calls.push_back(call);
    }

    fn add(&mut self, outbox: &Outbox, slot: u16, version: u64, rows: &[Row]) -> Stored {
        let (now, first) = (Instant::now(), self.places);
        self.places += rows.len() as u64;
        let room = self.room(outbox, slot);
        let is_first = room.rows.is_empty();
        let places: Vec<_> = (first..).take(rows.len()).map(|place| place.to_string()).collect();
        for (place, row) in places.iter().cloned().zip(rows.iter().cloned()) {
            room.rows.push_back(Waiting { place, row, since: now });
        }
        let is_free = room.until.is_none_or(|until| until <= now);
        let turn = match (room.rows.is_empty(), is_free, is_first) {
            (true, ..) | (_, false, _) => Turn::Others,
            (_, true, true) => Turn::Yours { fence: room.lease(outbox, now), places },
            (_, true, false) => Turn::Take,
        };
        Stored { version, slot, waiting: room.rows.len() as u64, turn }
    }
}

impl OutboxStore for InProcessStores {
    fn slots(&self) -> u16 {
        SLOTS
    }

    fn commit<'a>(
        &'a self,
        outbox: &'a Outbox,
        commit: Commit<'a>,
    ) -> BoxFuture<'a, Result<Committed, StoreError>> {
        Box::pin(async move {
            let committed = self.state().commit(outbox, commit);
            self.changed.notify_waiters();
            committed
        })
    }

    fn take<'a>(&'a self, outbox: &'a Outbox, slot: u16) -> BoxFuture<'a, Result<Taken, StoreError>> {
        Box::pin(async move {
            let (mut state, now) = (self.state(), Instant::now());
            let room = state.outbox.room(outbox, slot);
            let can = !room.rows.is_empty() && room.is_free_for(outbox.relay, now);
            let fence = can.then(|| room.lease(outbox, now));
            Ok(room.taken(outbox, fence, now))
        })
    }

    fn settle<'a>(
        &'a self,
        outbox: &'a Outbox,
        hold: Hold,
        rows: &'a [Settle],
    ) -> BoxFuture<'a, Result<Taken, StoreError>> {
        Box::pin(async move {
            let (mut state, now) = (self.state(), Instant::now());
            let room = state.outbox.room(outbox, hold.slot);
            if !room.is_held(outbox, hold.fence) {
                return Ok(room.taken(outbox, None, now));
            }
            let gone: HashSet<_> = rows.iter().map(|settle| &*settle.place).collect();
            let before = room.rows.len();
            room.rows.retain(|waiting| !gone.contains(&*waiting.place));
            room.parked +=
                rows.iter().filter(|row| row.parked.is_some()).count().min(before - room.rows.len());
            if room.rows.is_empty() {
                room.end_lease();
                return Ok(room.taken(outbox, None, now));
            }
            room.until = Some(now + outbox.lease);
            Ok(room.taken(outbox, Some(hold.fence), now))
        })
    }

    fn give_back<'a>(&'a self, outbox: &'a Outbox, hold: Hold) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let mut state = self.state();
            let room = state.outbox.room(outbox, hold.slot);
            if room.is_held(outbox, hold.fence) {
                room.end_lease();
            }
            Ok(())
        })
    }
}

fn slot_of(record: Record<'_>) -> u16 {
    let mut hasher = DefaultHasher::new();
    match record {
        Record::Claim { key, .. } => key.hash(&mut hasher),
        Record::Marks { scope, .. } => scope.hash(&mut hasher),
        Record::Alone { near, .. } => near.hash(&mut hasher),
    }
    u16::try_from(hasher.finish() % u64::from(SLOTS)).expect("less than the number of slots")
}
