//! What a store of messages on their way out promises: what a handler staged is recorded with its outcome.

use std::{any::Any, fmt, time::Duration};

use bytes::Bytes;
use uuid::Uuid;

use super::{ClaimKey, Holder, StoreError, StoredOutcome};
use crate::BoxFuture;

/// Records what a handler staged together with its outcome, and hands it to one relay at a time.
///
/// Rows lie in slots. A slot holds some records, their rows and, where the store has any, an application's own
/// writes, so that all of them can change in one step.
///
/// # Contract
/// - `commit` records everything it is given in one atomic step, or nothing: not when the claim is fenced, not
///   when a condition of the writes does not hold, not when the slot has no room for the rows.
/// - A repeated `commit` (same claim and holder, or same call) records nothing twice: a call whose answer was
///   lost may be repeated.
/// - Rows of one slot are taken in the order of their commits, by one relay at a time: the one whose lease has not
///   run out. The lease runs by the store's own clock. `commit` takes it for the committing relay when it is free
///   and nothing lies before its rows.
/// - Each lease has a fence, and fences of one slot only grow. `settle` and `give_back` behind a newer one change
///   nothing.
/// - A row stays until it was settled. Settling the last row of a slot ends the lease; else `settle` prolongs it
///   and answers what comes next.
/// - An error of kind [`StoreErrorKind::Unavailable`](super::StoreErrorKind) means that the outcome is unknown.
pub trait OutboxStore: Send + Sync + 'static {
    /// Number of slots, from 1. Equal for all nodes.
    fn slots(&self) -> u16;
    /// What the key of an application's own write carries to lie beside a record. `None`: this store takes no
    /// writes.
    fn tag(&self, beside: Beside<'_>) -> Option<String> {
        let _ = beside;
        None
    }
    /// Whether writes can join a commit beside this record.
    ///
    /// # Errors
    /// `Refused`, with what is wrong with them as a sentence.
    fn check(&self, writes: &Writes, beside: Beside<'_>) -> Result<(), StoreError> {
        let _ = (writes, beside);
        Err(StoreError::refused("these stores take no writes of an application: use Redis stores"))
    }
    /// Records an outcome or marks, rows and writes in one step.
    fn commit<'a>(
        &'a self,
        outbox: &'a Outbox,
        commit: Commit<'a>,
    ) -> BoxFuture<'a, Result<Committed, StoreError>>;
    /// Takes the lease of a slot, when it is free or this relay's own, and answers its oldest rows.
    fn take<'a>(&'a self, outbox: &'a Outbox, slot: u16) -> BoxFuture<'a, Result<Taken, StoreError>>;
    /// Removes rows that were stored by the broker, puts aside those that never will be, and answers what comes
    /// next.
    fn settle<'a>(
        &'a self,
        outbox: &'a Outbox,
        hold: Hold,
        rows: &'a [Settle],
    ) -> BoxFuture<'a, Result<Taken, StoreError>>;
    /// Ends the lease, so that any relay may take the slot at once.
    fn give_back<'a>(&'a self, outbox: &'a Outbox, hold: Hold) -> BoxFuture<'a, Result<(), StoreError>>;
}

/// Which rows a relay takes care of, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outbox {
    /// Namespace and service: its nodes relay each other's rows. Letters, digits, `.`, `-`, `_` and `:`.
    pub scope: String,
    /// The relay that asks: made anew with each start of a node.
    pub relay: Uuid,
    /// How long a slot is held without a call.
    pub lease: Duration,
    /// Most rows of one slot; a commit beyond that is refused.
    pub rows_max: u64,
    /// Most rows that are answered at once. At least 1.
    pub batch_max: usize,
}

/// What is recorded in one step.
#[derive(Debug, Clone, Copy)]
pub struct Commit<'a> {
    /// What says that the handler is done.
    pub record: Record<'a>,
    /// Messages on their way out, in order.
    pub rows: &'a [Row],
    /// An application's own writes.
    pub writes: &'a [Writes],
}

/// What says that a handler is done.
#[derive(Debug, Clone, Copy)]
pub enum Record<'a> {
    /// The end of a claim.
    Claim {
        /// The record.
        key: &'a ClaimKey,
        /// Who holds it.
        holder: Holder,
        /// How the run ended.
        outcome: &'a StoredOutcome,
        /// For how long that is kept.
        retention: Duration,
    },
    /// The marks of a node, as [`MarkStore::save`](super::MarkStore::save) takes them.
    Marks {
        /// Whose they are.
        scope: &'a str,
        /// The marks.
        record: &'a Bytes,
        /// The version that is replaced.
        expected: Option<u64>,
    },
    /// Nothing: the rows and writes themselves.
    Alone {
        /// Made anew for each commit, before the first call.
        call: Uuid,
        /// Rows with equal texts here share a slot, unless writes choose it.
        near: &'a str,
    },
}

/// A record that something should lie beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beside<'a> {
    /// A claim.
    Claim(&'a ClaimKey),
    /// A node's marks.
    Marks(&'a str),
    /// Nothing that exists: the writes choose the slot, and equal texts have one.
    Text(&'a str),
}

/// A message on its way out.
#[derive(Clone, PartialEq, Eq)]
pub struct Row {
    /// The id under which it is published, however often that is tried.
    pub id: Uuid,
    /// The message and how it leaves, at most [`Row::BYTES_MAX`] bytes. See [`Row::describe`].
    pub bytes: Bytes,
}

impl Row {
    /// The largest row that is stored. Brokers take less.
    pub const BYTES_MAX: usize = 8 * 1024 * 1024;
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Row({}, {} bytes)", self.id, self.bytes.len())
    }
}

/// An application's own writes, which join a commit. Only the store that they are made for knows what they are.
pub struct Writes(Box<dyn Any + Send + Sync>);

impl Writes {
    /// Writes of a type that the store knows.
    pub fn new<W: Any + Send + Sync>(writes: W) -> Self {
        Self(Box::new(writes))
    }

    /// The writes, when they are of this type.
    pub fn get<W: Any>(&self) -> Option<&W> {
        self.0.downcast_ref()
    }
}

impl fmt::Debug for Writes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Writes")
    }
}

/// How a commit ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Committed {
    /// Everything is recorded, now or by an earlier call.
    Stored(Stored),
    /// Nothing is: a newer claim exists.
    Fenced,
    /// Nothing is: a condition of the writes does not hold. Another writer was faster.
    Overtaken,
    /// Nothing is: the slot holds as many rows as it may.
    Full,
}

/// Where rows were recorded, and who relays them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The new version of the marks; 0 when there are none.
    pub version: u64,
    /// Where the rows lie.
    pub slot: u16,
    /// How many rows lie there now.
    pub waiting: u64,
    /// Who relays them.
    pub turn: Turn,
}

/// Who relays rows that were just recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// The relay that committed, at once: it holds the slot, and nothing lies before its rows.
    Yours {
        /// Of the lease.
        fence: u64,
        /// Where each row lies, in their order.
        places: Vec<String>,
    },
    /// The relay that committed, after it has taken the slot: others lie before them.
    Take,
    /// Whoever holds the slot; or there are none.
    Others,
}

/// A slot that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// Which one.
    pub slot: u16,
    /// Of the lease.
    pub fence: u64,
}

/// How a slot stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Taken {
    /// Rows that lie there.
    pub waiting: u64,
    /// Since when the oldest of them does.
    pub oldest: Option<Duration>,
    /// Rows that were put aside.
    pub parked: u64,
    /// What this relay should publish now. `None`: nothing is there, or another relay holds the slot.
    pub batch: Option<Batch>,
}

/// Rows to be published, oldest first; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Of the lease.
    pub fence: u64,
    /// The rows, and where each lies.
    pub rows: Vec<(String, Row)>,
}

/// A row that needs no relay any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settle {
    /// Where it lies.
    pub place: String,
    /// Why it is put aside instead of being removed: the broker will never take it.
    pub parked: Option<String>,
}
