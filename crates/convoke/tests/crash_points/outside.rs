//! Stores and transport as one life of the node reaches them: through its fuse, and with a planted fault.
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use convoke::{
    Answered, BoxFuture, Capability, Claim, ClaimKey, ClaimStore, Claimed, Consume, ConsumeSpec, DeadLetter,
    Envelope, Holder, InProcess, InProcessStores, LeaveReport, MarkStore, NodeIdentity, Outgoing, Receipt,
    Serve, ServeSpec, StoreError, StoredOutcome, Transport, TransportError, TransportHealth,
};
use tokio::time::Instant;
use uuid::Uuid;

use super::fuse::Fuse;

/// What the outside does wrong, to see that the checks notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Planted {
    Nothing,
    /// Completions are acknowledged and not stored.
    CompletesNothing,
    /// Marks are acknowledged and not stored.
    MarksNothing,
    /// A claim that is taken over forgets the id of the first message.
    ForgetsTheFirstId,
    /// Each publication gets an id of its own.
    PublishesUnderNewIds,
    /// Enqueued commands are acknowledged and not stored.
    EnqueuesNothing,
}

/// Stores of all lives, and the keys that were claimed in them.
#[derive(Default)]
pub(crate) struct Shelf {
    pub(crate) inner: InProcessStores,
    pub(crate) claimed: Mutex<HashMap<ClaimKey, u128>>,
}

/// The stores as one life reaches them.
pub(crate) struct FusedStores {
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) fuse: Arc<Fuse>,
    pub(crate) planted: Planted,
}

impl FusedStores {
    async fn claim_outside(&self, key: &ClaimKey, claim: Claim) -> Result<Claimed, StoreError> {
        self.shelf.claimed.lock().unwrap().insert(key.clone(), claim.fingerprint);
        let claimed = self.shelf.inner.claim(key, claim).await?;
        Ok(match claimed {
            Claimed::Owned { fence, attempt, .. } if self.planted == Planted::ForgetsTheFirstId => {
                Claimed::Owned { fence, attempt, message_id: Uuid::now_v7() }
            }
            other => other,
        })
    }

    async fn complete_outside(
        &self,
        key: &ClaimKey,
        holder: Holder,
        outcome: StoredOutcome,
        retention: Duration,
    ) -> Result<bool, StoreError> {
        if self.planted == Planted::CompletesNothing {
            self.fuse.ledger.note(format!("claim {} is done", key.scope));
            return Ok(true);
        }
        let stored = self.shelf.inner.complete(key, holder, outcome, retention).await?;
        if stored {
            self.fuse.ledger.note(format!("claim {} is done", key.scope));
        }
        Ok(stored)
    }

    async fn save_outside(&self, scope: &str, record: Bytes, old: Option<u64>) -> Result<u64, StoreError> {
        if self.planted == Planted::MarksNothing {
            self.fuse.ledger.note("marks saved");
            return Ok(old.unwrap_or(0) + 1);
        }
        let version = self.shelf.inner.save(scope, record, old).await?;
        self.fuse.ledger.note("marks saved");
        Ok(version)
    }
}

impl ClaimStore for FusedStores {
    fn name(&self) -> &'static str {
        "fused"
    }
    fn is_shared(&self) -> bool {
        true
    }
    fn claim<'a>(&'a self, key: &'a ClaimKey, claim: Claim) -> BoxFuture<'a, Result<Claimed, StoreError>> {
        Box::pin(self.fuse.call("claim", self.claim_outside(key, claim)))
    }
    fn renew<'a>(
        &'a self,
        key: &'a ClaimKey,
        holder: Holder,
        lease: Duration,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(self.fuse.call("renew", self.shelf.inner.renew(key, holder, lease)))
    }
    fn complete<'a>(
        &'a self,
        key: &'a ClaimKey,
        holder: Holder,
        outcome: StoredOutcome,
        retention: Duration,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(self.fuse.call("complete", self.complete_outside(key, holder, outcome, retention)))
    }
    fn release<'a>(&'a self, key: &'a ClaimKey, holder: Holder) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.fuse.call("release", self.shelf.inner.release(key, holder)))
    }
    fn changed<'a>(&'a self, key: &'a ClaimKey, wait: Duration) -> BoxFuture<'a, ()> {
        Box::pin(self.fuse.call("changed", self.shelf.inner.changed(key, wait)))
    }
    fn ping(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.fuse.call("ping", self.shelf.inner.ping()))
    }
}

impl MarkStore for FusedStores {
    fn load<'a>(&'a self, scope: &'a str) -> BoxFuture<'a, Result<Option<(Bytes, u64)>, StoreError>> {
        Box::pin(self.fuse.call("load", self.shelf.inner.load(scope)))
    }
    fn save<'a>(
        &'a self,
        scope: &'a str,
        record: Bytes,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<u64, StoreError>> {
        Box::pin(self.fuse.call("save", self.save_outside(scope, record, expected)))
    }
}

/// The bus as one life reaches it.
pub(crate) struct FusedBus {
    pub(crate) inner: Arc<InProcess>,
    pub(crate) fuse: Arc<Fuse>,
    pub(crate) planted: Planted,
}

impl FusedBus {
    async fn publish_outside(
        &self,
        mut message: Outgoing,
        deadline: Instant,
    ) -> Result<Receipt, TransportError> {
        if self.planted == Planted::PublishesUnderNewIds {
            message.envelope = Envelope::with_id(Uuid::now_v7());
        }
        let line = format!("published {} {}", message.name, message.envelope.id());
        let receipt = self.inner.publish(message, deadline).await?;
        self.fuse.ledger.note(line);
        Ok(receipt)
    }

    async fn enqueue_outside(
        &self,
        message: Outgoing,
        due: Option<SystemTime>,
        deadline: Instant,
    ) -> Result<Receipt, TransportError> {
        if self.planted == Planted::EnqueuesNothing {
            return Ok(Receipt { sequence: 1, duplicate: false });
        }
        self.inner.enqueue(message, due, deadline).await
    }
}

impl Transport for FusedBus {
    fn capability(&self) -> Capability {
        self.inner.capability()
    }
    fn open<'a>(&'a self, node: &'a NodeIdentity) -> BoxFuture<'a, Result<(), TransportError>> {
        Box::pin(self.fuse.call("open", self.inner.open(node)))
    }
    fn request(&self, message: Outgoing, by: Instant) -> BoxFuture<'_, Result<Answered, TransportError>> {
        Box::pin(self.fuse.call("request", self.inner.request(message, by)))
    }
    fn publish(&self, message: Outgoing, by: Instant) -> BoxFuture<'_, Result<Receipt, TransportError>> {
        Box::pin(self.fuse.call("publish", self.publish_outside(message, by)))
    }
    fn enqueue(
        &self,
        message: Outgoing,
        due: Option<SystemTime>,
        by: Instant,
    ) -> BoxFuture<'_, Result<Receipt, TransportError>> {
        Box::pin(self.fuse.call("enqueue", self.enqueue_outside(message, due, by)))
    }
    fn cancel(&self, id: Uuid, by: Instant) -> BoxFuture<'_, Result<bool, TransportError>> {
        Box::pin(self.fuse.call("cancel", self.inner.cancel(id, by)))
    }
    fn bury(&self, letter: DeadLetter, by: Instant) -> BoxFuture<'_, Result<(), TransportError>> {
        Box::pin(self.fuse.call("bury", self.inner.bury(letter, by)))
    }
    fn serve(&self, spec: ServeSpec, serve: Arc<dyn Serve>) -> BoxFuture<'_, Result<(), TransportError>> {
        Box::pin(self.fuse.call("serve", self.inner.serve(spec, serve)))
    }
    fn consume(
        &self,
        spec: ConsumeSpec,
        consume: Arc<dyn Consume>,
    ) -> BoxFuture<'_, Result<(), TransportError>> {
        Box::pin(self.fuse.call("consume", self.inner.consume(spec, consume)))
    }
    fn leave(&self, by: Instant) -> BoxFuture<'_, LeaveReport> {
        Box::pin(self.fuse.call("leave", self.inner.leave(by)))
    }
    fn close(&self, by: Instant) -> BoxFuture<'_, ()> {
        Box::pin(self.fuse.call("close", self.inner.close(by)))
    }
    /// The broker sees the connection end, however the node went.
    fn abandon(&self) {
        self.inner.abandon();
    }
    fn health(&self) -> TransportHealth {
        self.inner.health()
    }
}
