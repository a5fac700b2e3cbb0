//! Who runs what, and how it ended.

use std::time::Duration;

use convoke_core::{BoxFuture, Claim, ClaimKey, ClaimStore, Claimed, Holder, StoreError, StoredOutcome};
use tokio::time::{Instant, sleep, timeout};

use super::{
    Stores,
    bucket::Put,
    decide::{Found, Standing, Step, owned},
    key,
    record::{Record, State},
    waiters::Waiter,
};

/// How long a record that nobody completed is kept at least, for its message id and the count of its runs.
const ABANDONED_MIN: Duration = Duration::from_secs(24 * 60 * 60);
/// And how many leases at least.
const ABANDONED_LEASES: u32 = 10;
/// How soon one who waits looks again by itself, at first and later: what it hears may get lost.
const LOOK: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(2)];

/// What became of a holder's wish.
enum Changed {
    Yes,
    /// It was this holder's and is over.
    Over(State),
    Lost,
}

impl ClaimStore for Stores {
    fn name(&self) -> &'static str {
        "nats"
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn claim<'a>(&'a self, key: &'a ClaimKey, claim: Claim) -> BoxFuture<'a, Result<Claimed, StoreError>> {
        Box::pin(async move { self.claim_record(&key::claim(key)?, &claim).await })
    }

    fn renew<'a>(
        &'a self,
        key: &'a ClaimKey,
        holder: Holder,
        lease: Duration,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            let renew = |record: &Record| record.renewed(lease);
            let changed = self.change(&key::claim(key)?, holder, abandoned(lease), renew).await?;
            Ok(matches!(changed, Changed::Yes))
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
            let (len, max) = (outcome.answer.len(), StoredOutcome::BYTES_MAX);
            if len > max {
                return Err(StoreError::refused(format!("an answer of {len} bytes is larger than {max}")));
            }
            let end = |record: &Record| record.ended(&outcome);
            let changed = self.change(&key::claim(key)?, holder, retention, end).await?;
            // completed already: the answer to this owner's first call was lost
            Ok(matches!(changed, Changed::Yes | Changed::Over(State::Replied | State::Rejected)))
        })
    }

    fn release<'a>(&'a self, key: &'a ClaimKey, holder: Holder) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.change(&key::claim(key)?, holder, ABANDONED_MIN, Record::released).await.map(drop)
        })
    }

    fn changed<'a>(&'a self, key: &'a ClaimKey, wait: Duration) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if let Ok(name) = key::claim(key) {
                // Whether it changed or the time is up is the same to the caller.
                drop(timeout(wait, self.until_changed(&name)).await);
            }
        })
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move { self.inner.claims.time(self.deadline()).await.map(drop) })
    }
}

impl Stores {
    /// Writes first, and reads only when that shows that there is something.
    async fn claim_record(&self, name: &str, claim: &Claim) -> Result<Claimed, StoreError> {
        let deadline = self.deadline();
        let mut found = Found::NOTHING;
        // whoever loses a round loses it to a write that was stored, so somebody gets on in each
        loop {
            let remaining = if found.may_be_busy(claim) {
                found.remaining(self.inner.clock.now(&self.inner.claims, deadline).await?)
            } else {
                Duration::ZERO
            };
            let record = match found.claim(claim, remaining) {
                Step::Answer(claimed) => return Ok(claimed),
                Step::Write(record) => record,
            };
            let ttl = abandoned(record.lease());
            if let Some(revision) = self.write(name, &record, found.revision, ttl, deadline).await? {
                let claimed = owned(&record, revision);
                self.inner.held.keep(name, Found { revision, at: 0, record: Some(record) });
                return Ok(claimed);
            }
            found = self.find(name, deadline).await?;
        }
    }

    /// Replaces the holder's record, if it holds the key.
    async fn change(
        &self,
        name: &str,
        holder: Holder,
        ttl: Duration,
        next: impl Fn(&Record) -> Record,
    ) -> Result<Changed, StoreError> {
        let deadline = self.deadline();
        let mut found = match self.inner.held.take(name, holder) {
            Some(found) => found,
            None => self.find(name, deadline).await?,
        };
        loop {
            let record = match found.standing(holder) {
                Standing::Holds(record) => next(record).fenced(holder.fence),
                Standing::Ended(state) => return Ok(Changed::Over(state)),
                Standing::Lost => return Ok(Changed::Lost),
            };
            if let Some(revision) = self.write(name, &record, found.revision, ttl, deadline).await? {
                if record.state == State::Running {
                    self.inner.held.keep(name, Found { revision, at: 0, record: Some(record) });
                }
                return Ok(Changed::Yes);
            }
            found = self.find(name, deadline).await?;
        }
    }

    /// `None`: another revision is the latest.
    async fn write(
        &self,
        name: &str,
        record: &Record,
        expected: u64,
        ttl: Duration,
        deadline: Instant,
    ) -> Result<Option<u64>, StoreError> {
        if Instant::now() >= deadline {
            return Err(StoreError::unavailable("others kept writing the same record"));
        }
        match self.inner.claims.put(name, record.encode(), expected, Some(ttl), deadline).await? {
            Put::Stored(revision) => Ok(Some(revision)),
            Put::Changed => Ok(None),
        }
    }

    async fn find(&self, name: &str, deadline: Instant) -> Result<Found, StoreError> {
        let Some(entry) = self.inner.claims.last(name, deadline).await? else { return Ok(Found::NOTHING) };
        let record = if entry.data.is_empty() { None } else { Some(Record::decode(&entry.data)?) };
        Ok(Found { revision: entry.revision, at: entry.at, record })
    }

    async fn until_changed(&self, name: &str) {
        let mut waiter = self.inner.waiters.join(self.inner.claims.subject(name));
        if let Some(waiter) = &mut waiter {
            waiter.listening().await;
        }
        let [mut pause, pause_max] = LOOK;
        loop {
            let next = match self.remaining(name).await {
                Ok(Duration::ZERO) => return,
                Ok(remaining) => pause.min(remaining),
                Err(_) => pause,
            };
            // what changed while we looked is heard here as well
            tokio::select! {
                () = woken(waiter.as_mut()) => return,
                () = sleep(next) => {}
            }
            pause = (pause * 2).min(pause_max);
        }
    }

    /// For how long the record is still held; zero when there is nothing to wait for.
    async fn remaining(&self, name: &str) -> Result<Duration, StoreError> {
        let deadline = self.deadline();
        let found = self.find(name, deadline).await?;
        Ok(found.remaining(self.inner.clock.now(&self.inner.claims, deadline).await?))
    }
}

async fn woken(waiter: Option<&mut Waiter>) {
    match waiter {
        Some(waiter) => waiter.woken().await,
        None => std::future::pending().await,
    }
}

/// How long a record is kept whose run may end without a word.
fn abandoned(lease: Duration) -> Duration {
    ABANDONED_MIN.max(lease.saturating_mul(ABANDONED_LEASES))
}
