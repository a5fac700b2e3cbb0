use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use convoke_core::{
    Beside, BoxFuture, Claim, ClaimKey, ClaimStore, Claimed, Commit, Committed, Hold, Holder, MarkStore,
    Outbox, OutboxStore, Record as Recorded, Settle, StoreError, StoredOutcome, Stores, Taken, Writes,
};

use super::{Effect, Life};

/// The stores as one life of a node reaches them.
pub struct OutsideStores {
    inner: Stores,
    life: Arc<Life>,
}

impl OutsideStores {
    pub(super) fn new(inner: Stores, life: Arc<Life>) -> Self {
        Self { inner, life }
    }

    async fn complete_outside(
        &self,
        key: &ClaimKey,
        holder: Holder,
        outcome: StoredOutcome,
        retention: Duration,
    ) -> Result<bool, StoreError> {
        let stored = self.inner.claims.complete(key, holder, outcome.clone(), retention).await?;
        if stored {
            self.life.add(Effect::Completed { key: key.clone(), outcome });
        }
        Ok(stored)
    }

    async fn commit_outside(&self, outbox: &Outbox, commit: Commit<'_>) -> Result<Committed, StoreError> {
        let committed = self.outbox().commit(outbox, commit).await?;
        if matches!(committed, Committed::Stored(_)) {
            match commit.record {
                Recorded::Claim { key, outcome, .. } => {
                    self.life.add(Effect::Completed { key: key.clone(), outcome: outcome.clone() });
                }
                Recorded::Marks { .. } => self.life.add(Effect::Marked),
                Recorded::Alone { .. } => {}
            }
        }
        Ok(committed)
    }

    fn outbox(&self) -> &dyn OutboxStore {
        &**self.inner.outbox.as_ref().expect("this is an outbox only when there is one inside")
    }

    async fn save_outside(&self, scope: &str, record: Bytes, old: Option<u64>) -> Result<u64, StoreError> {
        let version = self.inner.marks.save(scope, record, old).await?;
        self.life.add(Effect::Marked);
        Ok(version)
    }
}

impl ClaimStore for OutsideStores {
    fn name(&self) -> &'static str {
        self.inner.claims.name()
    }
    fn is_shared(&self) -> bool {
        self.inner.claims.is_shared()
    }
    fn claim<'a>(&'a self, key: &'a ClaimKey, claim: Claim) -> BoxFuture<'a, Result<Claimed, StoreError>> {
        Box::pin(self.life.try_call("claim", None, self.inner.claims.claim(key, claim)))
    }
    fn renew<'a>(
        &'a self,
        key: &'a ClaimKey,
        holder: Holder,
        lease: Duration,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(self.life.try_call("renew", None, self.inner.claims.renew(key, holder, lease)))
    }
    fn complete<'a>(
        &'a self,
        key: &'a ClaimKey,
        holder: Holder,
        outcome: StoredOutcome,
        retention: Duration,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(self.life.try_call("complete", None, self.complete_outside(key, holder, outcome, retention)))
    }
    fn release<'a>(&'a self, key: &'a ClaimKey, holder: Holder) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.life.try_call("release", None, self.inner.claims.release(key, holder)))
    }
    fn changed<'a>(&'a self, key: &'a ClaimKey, wait: Duration) -> BoxFuture<'a, ()> {
        Box::pin(self.life.call("changed", self.inner.claims.changed(key, wait)))
    }
    fn ping(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.life.try_call("ping", None, self.inner.claims.ping()))
    }
}

impl MarkStore for OutsideStores {
    fn load<'a>(&'a self, scope: &'a str) -> BoxFuture<'a, Result<Option<(Bytes, u64)>, StoreError>> {
        Box::pin(self.life.try_call("load", None, self.inner.marks.load(scope)))
    }
    fn save<'a>(
        &'a self,
        scope: &'a str,
        record: Bytes,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<u64, StoreError>> {
        Box::pin(self.life.try_call("save", None, self.save_outside(scope, record, expected)))
    }
}

impl OutboxStore for OutsideStores {
    fn slots(&self) -> u16 {
        self.outbox().slots()
    }
    fn tag(&self, beside: Beside<'_>) -> Option<String> {
        self.outbox().tag(beside)
    }
    fn check(&self, writes: &Writes, beside: Beside<'_>) -> Result<(), StoreError> {
        self.outbox().check(writes, beside)
    }
    fn commit<'a>(
        &'a self,
        outbox: &'a Outbox,
        commit: Commit<'a>,
    ) -> BoxFuture<'a, Result<Committed, StoreError>> {
        Box::pin(self.life.call("commit", self.commit_outside(outbox, commit)))
    }
    fn take<'a>(&'a self, outbox: &'a Outbox, slot: u16) -> BoxFuture<'a, Result<Taken, StoreError>> {
        Box::pin(self.life.call("take", self.outbox().take(outbox, slot)))
    }
    fn settle<'a>(
        &'a self,
        outbox: &'a Outbox,
        hold: Hold,
        rows: &'a [Settle],
    ) -> BoxFuture<'a, Result<Taken, StoreError>> {
        Box::pin(self.life.call("settle", self.outbox().settle(outbox, hold, rows)))
    }
    fn give_back<'a>(&'a self, outbox: &'a Outbox, hold: Hold) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.life.call("give back", self.outbox().give_back(outbox, hold)))
    }
}

impl fmt::Debug for OutsideStores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutsideStores").field("inner", &self.inner).finish_non_exhaustive()
    }
}
