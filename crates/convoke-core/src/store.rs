//! What stores promise, and what they answer.

mod outbox;

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use uuid::Uuid;

use crate::{BoxError, BoxFuture};

pub use outbox::{
    Batch, Beside, Commit, Committed, Hold, Outbox, OutboxStore, Record, Row, Settle, Stored, Taken, Turn,
    Writes,
};

/// The stores of a node.
#[derive(Clone)]
pub struct Stores {
    /// Who runs what: idempotent commands, and events handled by a group.
    pub claims: Arc<dyn ClaimStore>,
    /// How far each handler of a node has come in a stream.
    pub marks: Arc<dyn MarkStore>,
    /// Where staged messages lie until the broker has them. Without one they are published before the outcome is
    /// stored.
    pub outbox: Option<Arc<dyn OutboxStore>>,
}

impl Stores {
    /// Claims and marks from one value, as backends make them.
    pub fn of<S: ClaimStore + MarkStore>(store: S) -> Self {
        let store = Arc::new(store);
        Self { claims: store.clone(), marks: store, outbox: None }
    }

    /// The same with an outbox.
    pub fn with_outbox<S: ClaimStore + MarkStore + OutboxStore>(store: S) -> Self {
        let store = Arc::new(store);
        Self { claims: store.clone(), marks: store.clone(), outbox: Some(store) }
    }
}

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stores").field("claims", &self.claims.name()).finish_non_exhaustive()
    }
}

/// Remembers which key is being run by whom, and how it ended.
///
/// # Contract
/// - One record per [`ClaimKey`]. `claim`, `renew`, `complete` and `release` are atomic.
/// - The lease runs by the store's own clock. A record whose lease ran out can be claimed by another owner, and
///   the new claim has a higher fence; fences of one key only grow, also across the expiry of a record.
/// - A repeated `claim` or `complete` of the same owner is answered as the first one was: a call whose
///   answer was lost may be repeated.
/// - `complete` and `release` of an owner whose fence is not the latest change nothing.
/// - Completed records are kept for the retention, counted from completion.
/// - An error of kind [`StoreErrorKind::Unavailable`] means that the outcome is unknown.
pub trait ClaimStore: Send + Sync + 'static {
    /// What to call it in logs and health, such as `redis`.
    fn name(&self) -> &'static str;
    /// Whether other processes see it. An idempotent command on a networked transport needs that.
    fn is_shared(&self) -> bool;
    /// Claims a key, or tells how it stands.
    fn claim<'a>(&'a self, key: &'a ClaimKey, claim: Claim) -> BoxFuture<'a, Result<Claimed, StoreError>>;
    /// Prolongs the lease. `false`: it is lost, stop working.
    fn renew<'a>(
        &'a self,
        key: &'a ClaimKey,
        holder: Holder,
        lease: Duration,
    ) -> BoxFuture<'a, Result<bool, StoreError>>;
    /// Stores the outcome and ends the claim. `false`: fenced, a newer claim exists.
    fn complete<'a>(
        &'a self,
        key: &'a ClaimKey,
        holder: Holder,
        outcome: StoredOutcome,
        retention: Duration,
    ) -> BoxFuture<'a, Result<bool, StoreError>>;
    /// Gives the key back, so that the next claim may run at once.
    fn release<'a>(&'a self, key: &'a ClaimKey, holder: Holder) -> BoxFuture<'a, Result<(), StoreError>>;
    /// Returns when the record may have changed, or after `wait` at the latest. Early is fine, late is not.
    fn changed<'a>(&'a self, key: &'a ClaimKey, wait: Duration) -> BoxFuture<'a, ()>;
    /// One cheap round trip, for health.
    fn ping(&self) -> BoxFuture<'_, Result<(), StoreError>>;
}

/// Remembers how far a node's handler has come: one small record per scope, written by its owner only.
///
/// # Contract
/// - `save` replaces the record if and only if its version is `expected` (`None`: there is none), and answers
///   the new version. A differing version is [`StoreErrorKind::Conflict`]: another process writes this scope.
/// - A record is kept at least 30 days after its last write.
pub trait MarkStore: Send + Sync + 'static {
    /// The record and its version.
    fn load<'a>(&'a self, scope: &'a str) -> BoxFuture<'a, Result<Option<(Bytes, u64)>, StoreError>>;
    /// Replaces the record.
    fn save<'a>(
        &'a self,
        scope: &'a str,
        record: Bytes,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<u64, StoreError>>;
}

/// Names one record: who asks, and under which key. Both are bounded.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClaimKey {
    /// Namespace and wire name, or namespace, group and handler. Letters, digits, `.`, `-`, `_` and `:`.
    pub scope: String,
    /// The idempotency key or message id: 1 to 255 visible ASCII characters.
    pub key: String,
}

/// A wish to run something.
#[derive(Debug, Clone, Copy)]
pub struct Claim {
    /// Made anew for each run, before the first call.
    pub owner: Uuid,
    /// The id of the message. The first claim's id is kept and handed to each later run.
    pub message_id: Uuid,
    /// Of the payload; another one under the same key is a mismatch.
    pub fingerprint: u128,
    /// How long the claim holds without renewal.
    pub lease: Duration,
}

/// Who holds a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// The run.
    pub owner: Uuid,
    /// Grows with each claim of the key.
    pub fence: u64,
}

/// How a key stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// Run it.
    Owned {
        /// Goes with every effect: who has a lower one comes too late.
        fence: u64,
        /// The message id of the first claim.
        message_id: Uuid,
        /// 1 for the first run.
        attempt: u32,
    },
    /// It ran; this was its outcome.
    Done(StoredOutcome),
    /// Somebody runs it, and the lease holds for this long.
    Busy {
        /// Until another claim could succeed.
        remaining: Duration,
    },
    /// The key was used with another payload.
    Mismatch,
}

/// How a run ended, as it is stored and replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredOutcome {
    /// Whether it was refused.
    pub rejected: bool,
    /// The reply or the refusal as MessagePack, at most [`StoredOutcome::BYTES_MAX`] bytes.
    pub answer: Bytes,
}

impl StoredOutcome {
    /// The largest answer that is stored.
    pub const BYTES_MAX: usize = 256 * 1024;
}

/// A store operation failed.
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    source: Option<BoxError>,
}

/// What a caller can branch on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The store could not be reached in time: whether the call took effect is unknown.
    Unavailable,
    /// Somebody else wrote in between.
    Conflict,
    /// The store holds something that is not ours, or refuses for good.
    Refused,
}

impl StoreError {
    /// The store could not be reached, or did not answer in time.
    pub fn unavailable(source: impl Into<BoxError>) -> Self {
        Self { kind: StoreErrorKind::Unavailable, source: Some(source.into()) }
    }
    /// Another writer was faster.
    pub fn conflict() -> Self {
        Self { kind: StoreErrorKind::Conflict, source: None }
    }
    /// The store answered, and the answer is no.
    pub fn refused(source: impl Into<BoxError>) -> Self {
        Self { kind: StoreErrorKind::Refused, source: Some(source.into()) }
    }
    /// What a caller can branch on.
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            StoreErrorKind::Unavailable => "store unavailable",
            StoreErrorKind::Conflict => "another process writes the same record",
            StoreErrorKind::Refused => "store refused",
        })?;
        self.source.as_ref().map_or(Ok(()), |source| write!(f, ": {source}"))
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}
