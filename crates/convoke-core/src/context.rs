mod carried;

use std::{
    any::Any,
    fmt, mem,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    Beside, ClaimKey, Command, Envelope, Event, Fence, LANE_UNKEYED, Mediator, Message, MessageKind,
    Outgoing, Payload, StoreError, Writes,
    endpoint::{Endpoint, Server},
    node::NodeInner,
};
pub(crate) use carried::Carried;

/// What a handler and a behaviour know about the message at hand.
///
/// Not `Clone`: what is staged here leaves with the outcome, so nothing may outlive the handler.
pub struct Context {
    at: Server,
    id: OnceLock<Uuid>, // made on first use: a local call that never asks pays nothing
    carried: Carried,
    until: Until,
    attempt: AtomicU32,
    fence: AtomicU64,                      // 0: none
    leading: Option<Box<Fence>>,           // a box: most handlers are for every node
    staged: OnceLock<Box<Mutex<Staging>>>, // made on first use: most handlers stage nothing
    place: Place,
    misused: AtomicBool,
}

/// What the outcome is recorded in, and what is staged with it.
#[derive(Default)]
pub(crate) enum Place {
    /// Nothing, or no outbox is there to record with it.
    #[default]
    Free,
    Claim(Box<ClaimKey>),
    Marks(Arc<str>),
}

impl Context {
    pub(crate) fn new(at: Server, carried: impl Into<Carried>, until: impl Into<Until>) -> Self {
        Self {
            at,
            id: OnceLock::new(),
            carried: carried.into(),
            until: until.into(),
            attempt: AtomicU32::new(0),
            fence: AtomicU64::new(0),
            leading: None,
            staged: OnceLock::new(),
            place: Place::Free,
            misused: AtomicBool::new(false),
        }
    }

    /// The wire name of the message.
    pub fn name(&self) -> &'static str {
        self.at.endpoint.info.name
    }

    /// The kind of the message.
    pub fn kind(&self) -> MessageKind {
        self.at.endpoint.info.kind
    }

    /// The handler, such as `Orders::place`.
    pub fn handler(&self) -> &str {
        &self.at.endpoint.info.title
    }

    /// The id of this node, stable over restarts.
    pub fn node(&self) -> &str {
        &self.at.node.identity.node
    }

    /// The id of the message.
    ///
    /// Each run of an idempotent command under one key sees the same id, also when the first run crashed on
    /// another node: what is stored under it is stored once.
    pub fn id(&self) -> Uuid {
        *self.id.get_or_init(|| self.envelope().map_or_else(Uuid::now_v7, Envelope::id))
    }

    /// The id of the message that started it all; this one's when it did.
    pub fn correlation_id(&self) -> Uuid {
        self.envelope().and_then(|envelope| envelope.correlation).unwrap_or_else(|| self.id())
    }

    /// The id of the message that was handled when this one was sent.
    pub fn causation_id(&self) -> Option<Uuid> {
        self.envelope()?.causation
    }

    /// The key under which an idempotent command runs once, when the caller gave one.
    pub fn idempotency_key(&self) -> Option<&str> {
        self.envelope()?.idempotency_key.as_deref()
    }

    /// The node that published the event.
    pub fn source(&self) -> Option<&str> {
        self.envelope()?.source.as_deref()
    }

    /// A header the sender added; names are compared in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.envelope()?.headers.get(name)
    }

    /// The caller's W3C trace context.
    pub fn traceparent(&self) -> Option<&str> {
        self.envelope()?.traceparent.as_deref()
    }

    /// When this run ends at the latest: the caller's deadline or the handler's timeout, whichever is sooner.
    pub fn deadline(&self) -> Instant {
        self.until.get()
    }

    /// Time left until the deadline.
    pub fn remaining(&self) -> Duration {
        self.deadline().saturating_duration_since(Instant::now())
    }

    /// Which run of the handler this is for this message, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt.load(Ordering::Relaxed)
    }

    /// Grows with each claim of the message: hand it to stores that refuse what comes behind a newer one.
    /// `None` when nothing was claimed.
    pub fn fence(&self) -> Option<u64> {
        match self.fence.load(Ordering::Relaxed) {
            0 => None,
            fence => Some(fence),
        }
    }

    /// What a `#[handler(leader)]` runs under: the leader's term, and how far the cluster's log reached when it was
    /// confirmed, after the message had arrived. Hand it to stores that refuse what comes behind a newer one: a
    /// process that was stopped and goes on cannot know at once that another one leads. `None` in any other handler.
    pub fn leader_fence(&self) -> Option<Fence> {
        self.leading.as_deref().copied()
    }

    /// The handle to this node. What is sent through it carries correlation and causation on.
    pub fn mediator(&self) -> Mediator {
        Mediator::within(
            self.at.node.clone(),
            self.causes(),
            self.deadline(),
            self.at.endpoint.info.options.view,
        )
    }

    /// Stages an event: it leaves with the outcome, or not at all when the handler refuses or fails.
    ///
    /// Its id is made from this message's id and its place among the staged, so a repeated run publishes the
    /// same ids. In a `view` handler, which is replayed at every start, it turns the run into a fault.
    pub fn publish<E: Event>(&self, event: E) {
        self.stage(event, Due::Published);
    }

    /// Stages a command for one of the nodes that handle it: it is enqueued with the outcome, or not at all.
    ///
    /// Its id is made as that of [`publish`](Self::publish). Not for `view` handlers either.
    pub fn enqueue<C: Command>(&self, command: C) {
        self.stage(command, Due::Enqueued(None));
    }

    /// The same, to be run after a delay, counted from when it is staged.
    pub fn enqueue_after<C: Command>(&self, delay: Duration, command: C) {
        self.stage(command, Due::Enqueued(Some(SystemTime::now() + delay)));
    }

    /// Stages writes of the application's own for the stores of this node, such as `convoke_redis::Commit`: they
    /// are made in one step with the outcome and with what else is staged, or not at all.
    ///
    /// When a condition of the writes does not hold, because another writer was faster, nothing is stored and the
    /// handler runs again. So it reads what the condition rests on in the same run.
    ///
    /// # Errors
    /// `Refused` when these stores take no such writes, or the writes do not lie beside the outcome; see
    /// [`commit_tag`](Self::commit_tag).
    pub fn commit_with<W: Any + Send + Sync>(&self, writes: W) -> Result<(), StoreError> {
        if self.at.endpoint.info.options.view {
            return Err(StoreError::refused("a view writes nothing: it is replayed at every start"));
        }
        let Some(relay) = &self.at.node.relay else {
            return Err(StoreError::refused(
                "these stores take no writes of an application: use Redis stores",
            ));
        };
        let writes = Writes::new(writes);
        let id;
        let beside = match &self.place {
            Place::Free => {
                id = self.id().to_string();
                Beside::Text(&id)
            }
            place => place.beside(),
        };
        relay.store.check(&writes, beside)?;
        self.staged().writes.push(writes);
        Ok(())
    }

    /// What the keys of [`commit_with`](Self::commit_with) carry, so that they lie beside the outcome: the hash tag
    /// of its record. Where nothing is recorded, as for a sent command that is not idempotent, any tag of the
    /// stores will do, and this is one. `None` when the stores of this node take no writes.
    pub fn commit_tag(&self) -> Option<String> {
        let store = &self.at.node.relay.as_ref()?.store;
        match &self.place {
            Place::Free => store.tag(Beside::Text(&self.id().to_string())),
            place => store.tag(place.beside()),
        }
    }

    fn stage<M: Message>(&self, message: M, due: Due) {
        if self.at.endpoint.info.options.view {
            self.misused.store(true, Ordering::Relaxed);
            return;
        }
        let mut staged = self.staged();
        let id = derived_id(self.id(), &self.at.endpoint.info.title, staged.messages.len());
        let mut envelope = Envelope::with_id(id);
        (envelope.correlation, envelope.causation) = self.causes();
        envelope.source = Some(self.node().into());
        envelope.traceparent = self.traceparent().map(Into::into);
        staged.messages.push(Staged { message: outgoing(message, envelope), due });
    }

    /// Correlation and causation of what this message causes.
    fn causes(&self) -> (Option<Uuid>, Option<Uuid>) {
        (Some(self.correlation_id()), Some(self.id()))
    }

    fn envelope(&self) -> Option<&Envelope> {
        self.carried.envelope()
    }

    /// A new run: what an earlier one staged is gone.
    pub(crate) fn begin(&self) {
        // One run at a time, so nobody else writes: a load and a store, not a locked instruction.
        let before = self.attempt.load(Ordering::Relaxed);
        self.attempt.store(before + 1, Ordering::Relaxed);
        if before > 0 {
            self.take_staged();
        }
    }

    pub(crate) fn set_attempts_before(&self, attempts: u32) {
        self.attempt.store(attempts, Ordering::Relaxed);
    }

    /// The claim's fence and the id of its first run.
    pub(crate) fn set_claim(&mut self, fence: u64, message_id: Uuid) {
        self.fence = AtomicU64::new(fence);
        self.id = OnceLock::from(message_id);
    }

    pub(crate) fn set_leading(&mut self, fence: Option<Fence>) {
        self.leading = fence.map(Box::new);
    }

    /// What is staged is recorded with this, and not before.
    pub(crate) fn set_place(&mut self, place: impl FnOnce() -> Place) {
        if self.at.node.relay.is_some() {
            self.place = place();
        }
    }

    /// Whether what is staged is recorded by whoever records the outcome.
    pub(crate) fn commits_later(&self) -> bool {
        !matches!(self.place, Place::Free)
    }

    /// Whether something was staged. Seldom: what is asked first.
    pub(crate) fn has_staged(&self) -> bool {
        self.staged.get().is_some()
    }

    pub(crate) fn take_staged(&self) -> Staging {
        if self.has_staged() { mem::take(&mut *self.staged()) } else { Staging::default() }
    }

    pub(crate) fn node_inner(&self) -> &NodeInner {
        &self.at.node
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.at.endpoint
    }

    /// Whether a view tried to publish.
    pub(crate) fn was_misused(&self) -> bool {
        self.misused.load(Ordering::Relaxed)
    }

    fn staged(&self) -> MutexGuard<'_, Staging> {
        self.staged.get_or_init(Box::default).lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("name", &self.name()).field("id", &self.id()).finish_non_exhaustive()
    }
}

/// When a run ends at the latest: known, or counted from when somebody asks first. Reading the clock is dear beside
/// a handler that is done at once.
pub(crate) struct Until {
    at: OnceLock<Instant>,
    limit: Duration,
    outer: Option<Instant>,
}

impl Until {
    /// So long from now, and not beyond what is around it.
    pub(crate) fn within(limit: Duration, outer: Option<Instant>) -> Self {
        Self { at: OnceLock::new(), limit, outer }
    }

    fn get(&self) -> Instant {
        *self.at.get_or_init(|| {
            let at = Instant::now() + self.limit;
            self.outer.map_or(at, |outer| at.min(outer))
        })
    }
}

impl From<Instant> for Until {
    fn from(at: Instant) -> Self {
        Self { at: OnceLock::from(at), limit: Duration::ZERO, outer: None }
    }
}

impl Place {
    fn beside(&self) -> Beside<'_> {
        match self {
            Self::Free => Beside::Text(""),
            Self::Claim(key) => Beside::Claim(key),
            Self::Marks(scope) => Beside::Marks(scope),
        }
    }
}

/// What waits for the outcome.
#[derive(Debug, Default)]
pub(crate) struct Staging {
    pub(crate) messages: Vec<Staged>,
    pub(crate) writes: Vec<Writes>,
}

impl Staging {
    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.writes.is_empty()
    }

    /// Equal for messages that keep an order: the lane of the first that has one.
    pub(crate) fn near(&self) -> String {
        let keyed = self.messages.iter().find(|staged| staged.message.lane != LANE_UNKEYED);
        match (keyed, self.messages.first()) {
            (Some(staged), _) => format!("lane:{}", staged.message.lane),
            (None, Some(staged)) => staged.message.envelope.id().to_string(),
            (None, None) => String::new(),
        }
    }
}

/// A message that waits for the outcome.
#[derive(Debug)]
pub(crate) struct Staged {
    pub(crate) message: Outgoing,
    pub(crate) due: Due,
}

/// How a staged message leaves.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Due {
    Published,
    Enqueued(Option<SystemTime>),
}

/// A message ready for the transport.
pub(crate) fn outgoing<M: crate::Message>(message: M, envelope: Envelope) -> Outgoing {
    use crate::Kind;
    let lane = match message.key() {
        Some(key) => crate::lane_of(&key),
        None => LANE_UNKEYED,
    };
    Outgoing {
        name: M::NAME,
        kind: M::Kind::KIND,
        lane,
        payload: Payload::Message(Arc::new(message)),
        envelope,
    }
}

/// The id of the `index`th message that a handler's run for `cause` stages: the same at every repetition.
fn derived_id(cause: Uuid, handler: &str, index: usize) -> Uuid {
    let mut input = Vec::with_capacity(24 + handler.len());
    input.extend_from_slice(cause.as_bytes());
    input.extend_from_slice(&(index as u64).to_be_bytes());
    input.extend_from_slice(handler.as_bytes());
    let hash = xxhash_rust::xxh3::xxh3_128(&input).to_be_bytes();
    // The time of the cause in front, so that ids of events sort by time as well.
    let mut bytes = hash;
    bytes[..6].copy_from_slice(&cause.as_bytes()[..6]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn staged_ids_repeat_and_differ_by_place_and_handler() {
        let cause = Uuid::now_v7();
        assert_eq!(derived_id(cause, "A::a", 0), derived_id(cause, "A::a", 0));
        assert_ne!(derived_id(cause, "A::a", 0), derived_id(cause, "A::a", 1));
        assert_ne!(derived_id(cause, "A::a", 0), derived_id(cause, "A::b", 0));
        assert_eq!(derived_id(cause, "A::a", 0).get_version_num(), 8);
    }
}
