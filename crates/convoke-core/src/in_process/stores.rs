mod outbox;

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};
use uuid::Uuid;

use outbox::Rooms;

use crate::{
    BoxFuture, Claim, ClaimKey, ClaimStore, Claimed, Holder, MarkStore, StoreError, StoredOutcome, Stores,
};

/// Records a store keeps; a claim beyond that is refused rather than remembered.
const RECORDS_MAX: usize = 1_000_000;
/// How long a claim without an outcome is kept after its lease: whoever repeats it does so within a day.
const ABANDONED_RETENTION: Duration = Duration::from_hours(24);
/// How many claims lie between two sweeps of expired records.
const SWEEP_EVERY: u64 = 1024;

/// Stores within this process. They see nothing of other processes, and forget everything with this one.
#[derive(Debug, Default)]
pub struct InProcessStores {
    state: Mutex<State>,
    changed: Notify,
}

/// Stores for an app that names none.
pub fn stores_in_process() -> Stores {
    Stores::of(InProcessStores::default())
}

#[derive(Debug, Default)]
struct State {
    records: HashMap<ClaimKey, Record>,
    marks: HashMap<String, (Bytes, u64)>,
    fence: u64, // one for all keys: it only grows, also when a record is gone
    claims: u64,
    outbox: Rooms,
}

#[derive(Debug)]
struct Record {
    owner: Uuid,
    message_id: Uuid,
    fingerprint: u128,
    fence: u64,
    attempt: u32,
    lease_until: Instant,
    kept_until: Option<Instant>, // when done
    outcome: Option<StoredOutcome>,
}

impl Record {
    fn is_held_by(&self, holder: Holder) -> bool {
        self.outcome.is_none() && self.owner == holder.owner && self.fence == holder.fence
    }
}

impl InProcessStores {
    /// Messages that lie in outboxes of these stores.
    pub fn outbox_waiting(&self) -> usize {
        self.state().outbox.waiting()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn sweep(&mut self, now: Instant) {
        self.claims += 1;
        if self.claims.is_multiple_of(SWEEP_EVERY) || self.records.len() >= RECORDS_MAX {
            self.records.retain(|_, record| match record.kept_until {
                Some(until) => until > now,
                None => record.lease_until + ABANDONED_RETENTION > now,
            });
        }
    }

    fn claim(&mut self, key: &ClaimKey, claim: Claim) -> Result<Claimed, StoreError> {
        let now = Instant::now();
        self.sweep(now);
        if self.records.get(key).is_some_and(|r| r.kept_until.is_some_and(|until| until <= now)) {
            self.records.remove(key);
        }
        let lease_until = now + claim.lease;
        let Some(record) = self.records.get_mut(key) else {
            if self.records.len() >= RECORDS_MAX {
                return Err(StoreError::refused("the in-process store is full: 1,000,000 records"));
            }
            self.fence += 1;
            let (fence, attempt) = (self.fence, 1);
            let Claim { owner, message_id, fingerprint, .. } = claim;
            let record = Record {
                owner,
                message_id,
                fingerprint,
                fence,
                attempt,
                lease_until,
                kept_until: None,
                outcome: None,
            };
            self.records.insert(key.clone(), record);
            return Ok(Claimed::Owned { fence, message_id, attempt });
        };
        if record.fingerprint != claim.fingerprint {
            return Ok(Claimed::Mismatch);
        }
        if let Some(outcome) = &record.outcome {
            return Ok(Claimed::Done(outcome.clone()));
        }
        if record.owner != claim.owner {
            if record.lease_until > now {
                return Ok(Claimed::Busy { remaining: record.lease_until - now });
            }
            self.fence += 1;
            record.owner = claim.owner;
            record.fence = self.fence;
            record.attempt = record.attempt.saturating_add(1);
        }
        record.lease_until = lease_until;
        Ok(Claimed::Owned { fence: record.fence, message_id: record.message_id, attempt: record.attempt })
    }

    fn complete(
        &mut self,
        key: &ClaimKey,
        holder: Holder,
        outcome: StoredOutcome,
        retention: Duration,
    ) -> bool {
        let Some(record) = self.records.get_mut(key) else { return false };
        if record.owner != holder.owner || record.fence != holder.fence {
            return false;
        }
        if record.outcome.is_none() {
            record.outcome = Some(outcome);
            record.kept_until = Some(Instant::now() + retention);
        }
        true // a repeated completion of the same owner
    }

    fn save(&mut self, scope: &str, record: Bytes, expected: Option<u64>) -> Result<u64, StoreError> {
        match (self.marks.get_mut(scope), expected) {
            (Some((saved, version)), Some(expected)) if *version == expected => {
                (*saved, *version) = (record, expected + 1);
                Ok(*version)
            }
            (None, None) => {
                self.marks.insert(scope.to_owned(), (record, 1));
                Ok(1)
            }
            _ => Err(StoreError::conflict()),
        }
    }
}

impl ClaimStore for InProcessStores {
    fn name(&self) -> &'static str {
        "in-process"
    }

    fn is_shared(&self) -> bool {
        false
    }

    fn claim<'a>(&'a self, key: &'a ClaimKey, claim: Claim) -> BoxFuture<'a, Result<Claimed, StoreError>> {
        Box::pin(async move { self.state().claim(key, claim) })
    }

    fn renew<'a>(
        &'a self,
        key: &'a ClaimKey,
        holder: Holder,
        lease: Duration,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            let mut state = self.state();
            let held = state.records.get_mut(key).filter(|record| record.is_held_by(holder));
            Ok(held.map(|record| record.lease_until = Instant::now() + lease).is_some())
        })
    }

    fn complete<'a>(
        &'a self,
        key: &'a ClaimKey,
        holder: Holder,
        outcome: StoredOutcome,
        retention: Duration,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            if outcome.answer.len() > StoredOutcome::BYTES_MAX {
                return Err(StoreError::refused("the outcome is larger than 256 KiB"));
            }
            let stored = self.state().complete(key, holder, outcome, retention);
            self.changed.notify_waiters();
            Ok(stored)
        })
    }

    fn release<'a>(&'a self, key: &'a ClaimKey, holder: Holder) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            if let Some(record) = self.state().records.get_mut(key).filter(|record| record.is_held_by(holder))
            {
                record.lease_until = Instant::now();
                record.owner = Uuid::nil(); // who gave it back cannot renew it
            }
            self.changed.notify_waiters();
            Ok(())
        })
    }

    fn changed<'a>(&'a self, key: &'a ClaimKey, wait: Duration) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable(); // before the look, so that no change is missed
            let now = Instant::now();
            let held = |r: &Record| r.outcome.is_none().then(|| r.lease_until.saturating_duration_since(now));
            let Some(remaining) = self.state().records.get(key).and_then(held) else { return };
            // The end of the lease is a change too: whoever waits may run it then.
            let _ = timeout(wait.min(remaining), changed).await;
        })
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async { Ok(()) })
    }
}

impl MarkStore for InProcessStores {
    fn load<'a>(&'a self, scope: &'a str) -> BoxFuture<'a, Result<Option<(Bytes, u64)>, StoreError>> {
        Box::pin(async move { Ok(self.state().marks.get(scope).cloned()) })
    }

    fn save<'a>(
        &'a self,
        scope: &'a str,
        record: Bytes,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<u64, StoreError>> {
        Box::pin(async move { self.state().save(scope, record, expected) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn neither_done_nor_abandoned_records_stay_for_ever() {
        let store = InProcessStores::default();
        for n in 0..SWEEP_EVERY - 1 {
            let key = ClaimKey { scope: "s".to_owned(), key: n.to_string() };
            let (owner, message_id) = (Uuid::now_v7(), Uuid::now_v7());
            let claim = Claim { owner, message_id, fingerprint: 0, lease: Duration::from_secs(1) };
            let Ok(Claimed::Owned { fence, .. }) = store.claim(&key, claim).await else {
                panic!("it is free")
            };
            if n % 2 == 0 {
                let outcome = StoredOutcome { rejected: false, answer: Bytes::new() };
                let hour = Duration::from_hours(1);
                assert!(
                    store
                        .complete(&key, Holder { owner, fence }, outcome, hour)
                        .await
                        .is_ok_and(|stored| stored)
                );
            }
        }
        tokio::time::advance(ABANDONED_RETENTION + Duration::from_secs(2)).await;
        store.state().sweep(Instant::now());
        assert!(store.state().records.is_empty());
    }
}
