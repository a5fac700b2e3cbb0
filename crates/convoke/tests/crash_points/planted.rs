//! What the outside does wrong on purpose, to see that the checks notice: stores and a bus with a planted fault.
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use convoke::{
    Answered, BoxFuture, Capability, Claim, ClaimKey, ClaimStore, Claimed, Commit, Committed, Consume,
    ConsumeSpec, DeadLetter, Envelope, Hold, Holder, InProcessStores, LeaveReport, MarkStore, NodeIdentity,
    Outbox, OutboxStore, Outgoing, Receipt, Serve, ServeSpec, Settle, StoreError, StoredOutcome, Stores,
    Taken, Transport, TransportError, TransportHealth,
};
use convoke_testing::outside::OutsideTransport;
use tokio::time::Instant;
use uuid::Uuid;

/// What the outside does wrong.
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
    /// Outcomes and marks are stored without the rows that go with them.
    ForgetsRows,
    /// Published rows stay in the outbox.
    SettlesNothing,
}

/// Stores of all lives, and the keys that were claimed in them.
#[derive(Default)]
pub(crate) struct Shelf {
    pub(crate) inner: InProcessStores,
    pub(crate) claimed: Mutex<HashMap<ClaimKey, u128>>,
}

/// The stores, with a fault.
pub(crate) struct PlantedStores {
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) planted: Planted,
}

impl PlantedStores {
    /// For a node: with an outbox, or without.
    pub(crate) fn stores(self, outbox: bool) -> Stores {
        if outbox { Stores::with_outbox(self) } else { Stores::of(self) }
    }

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
}

impl ClaimStore for PlantedStores {
    fn name(&self) -> &'static str {
        "planted"
    }
    fn is_shared(&self) -> bool {
        true
    }
    fn claim<'a>(&'a self, key: &'a ClaimKey, claim: Claim) -> BoxFuture<'a, Result<Claimed, StoreError>> {
        Box::pin(self.claim_outside(key, claim))
    }
    fn renew<'a>(
        &'a self,
        key: &'a ClaimKey,
        holder: Holder,
        lease: Duration,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        self.shelf.inner.renew(key, holder, lease)
    }
    fn complete<'a>(
        &'a self,
        key: &'a ClaimKey,
        holder: Holder,
        outcome: StoredOutcome,
        retention: Duration,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        if self.planted == Planted::CompletesNothing {
            return Box::pin(async { Ok(true) });
        }
        self.shelf.inner.complete(key, holder, outcome, retention)
    }
    fn release<'a>(&'a self, key: &'a ClaimKey, holder: Holder) -> BoxFuture<'a, Result<(), StoreError>> {
        self.shelf.inner.release(key, holder)
    }
    fn changed<'a>(&'a self, key: &'a ClaimKey, wait: Duration) -> BoxFuture<'a, ()> {
        self.shelf.inner.changed(key, wait)
    }
    fn ping(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.shelf.inner.ping()
    }
}

impl MarkStore for PlantedStores {
    fn load<'a>(&'a self, scope: &'a str) -> BoxFuture<'a, Result<Option<(Bytes, u64)>, StoreError>> {
        self.shelf.inner.load(scope)
    }
    fn save<'a>(
        &'a self,
        scope: &'a str,
        record: Bytes,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<u64, StoreError>> {
        if self.planted == Planted::MarksNothing {
            return Box::pin(async move { Ok(expected.unwrap_or(0) + 1) });
        }
        self.shelf.inner.save(scope, record, expected)
    }
}

impl OutboxStore for PlantedStores {
    fn slots(&self) -> u16 {
        self.shelf.inner.slots()
    }
    fn commit<'a>(
        &'a self,
        outbox: &'a Outbox,
        commit: Commit<'a>,
    ) -> BoxFuture<'a, Result<Committed, StoreError>> {
        let commit = match self.planted {
            Planted::ForgetsRows => Commit { rows: &[], ..commit },
            _ => commit,
        };
        OutboxStore::commit(&self.shelf.inner, outbox, commit)
    }
    fn take<'a>(&'a self, outbox: &'a Outbox, slot: u16) -> BoxFuture<'a, Result<Taken, StoreError>> {
        self.shelf.inner.take(outbox, slot)
    }
    fn settle<'a>(
        &'a self,
        outbox: &'a Outbox,
        hold: Hold,
        rows: &'a [Settle],
    ) -> BoxFuture<'a, Result<Taken, StoreError>> {
        if self.planted == Planted::SettlesNothing {
            return Box::pin(async { Ok(Taken::default()) });
        }
        self.shelf.inner.settle(outbox, hold, rows)
    }
    fn give_back<'a>(&'a self, outbox: &'a Outbox, hold: Hold) -> BoxFuture<'a, Result<(), StoreError>> {
        self.shelf.inner.give_back(outbox, hold)
    }
}

/// The way to the bus, with a fault.
pub(crate) struct PlantedBus {
    pub(crate) inner: OutsideTransport,
    pub(crate) planted: Planted,
}

impl Transport for PlantedBus {
    fn capability(&self) -> Capability {
        self.inner.capability()
    }
    fn open<'a>(&'a self, node: &'a NodeIdentity) -> BoxFuture<'a, Result<(), TransportError>> {
        self.inner.open(node)
    }
    fn request(&self, message: Outgoing, by: Instant) -> BoxFuture<'_, Result<Answered, TransportError>> {
        self.inner.request(message, by)
    }
    fn publish(&self, mut message: Outgoing, by: Instant) -> BoxFuture<'_, Result<Receipt, TransportError>> {
        if self.planted == Planted::PublishesUnderNewIds {
            message.envelope = Envelope::with_id(Uuid::now_v7());
        }
        self.inner.publish(message, by)
    }
    fn enqueue(
        &self,
        message: Outgoing,
        due: Option<SystemTime>,
        by: Instant,
    ) -> BoxFuture<'_, Result<Receipt, TransportError>> {
        if self.planted == Planted::EnqueuesNothing {
            return Box::pin(async { Ok(Receipt { sequence: 1, duplicate: false }) });
        }
        self.inner.enqueue(message, due, by)
    }
    fn cancel(&self, id: Uuid, by: Instant) -> BoxFuture<'_, Result<bool, TransportError>> {
        self.inner.cancel(id, by)
    }
    fn bury(&self, letter: DeadLetter, by: Instant) -> BoxFuture<'_, Result<(), TransportError>> {
        self.inner.bury(letter, by)
    }
    fn serve(&self, spec: ServeSpec, serve: Arc<dyn Serve>) -> BoxFuture<'_, Result<(), TransportError>> {
        self.inner.serve(spec, serve)
    }
    fn consume(
        &self,
        spec: ConsumeSpec,
        consume: Arc<dyn Consume>,
    ) -> BoxFuture<'_, Result<(), TransportError>> {
        self.inner.consume(spec, consume)
    }
    fn leave(&self, by: Instant) -> BoxFuture<'_, LeaveReport> {
        self.inner.leave(by)
    }
    fn close(&self, by: Instant) -> BoxFuture<'_, ()> {
        self.inner.close(by)
    }
    fn abandon(&self) {
        self.inner.abandon();
    }
    fn health(&self) -> TransportHealth {
        self.inner.health()
    }
}
