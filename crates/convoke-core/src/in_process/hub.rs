use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    task::AbortHandle,
    time::{Instant, sleep},
};
use tracing::error;
use uuid::Uuid;

use super::{
    lanes::Lanes,
    letters::Letters,
    log::Log,
    seat::{Pending, Seat, Underway},
    watch::Faults,
};
use crate::{
    Codec, LeaveReport, NodeIdentity, Outgoing, Payload, Receipt, Serve, TransportErrorKind,
    endpoint::Server, names::ByName, spread::Spread,
};

/// Jobs that may wait for their time.
const SCHEDULED_MAX: usize = 65_536;
/// Requests a bus remembers for tests.
const REQUESTS_MAX: usize = 10_000;
/// The largest message, as on a NATS server with default settings.
pub(super) const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// What nodes of one process share.
#[derive(Default)]
pub(super) struct Hub {
    /// What each send reads.
    groups: Spread<Mutex<Groups>>,
    nodes: Mutex<HashMap<String, Arc<Seat>>>,
    /// What answers for a node by its id.
    by_node: Mutex<HashMap<String, Member>>,
    pub(super) events: Log,
    pub(super) jobs: Log,
    scheduled: Mutex<HashMap<Uuid, AbortHandle>>,
    /// Where durable consumers stand, kept while their node is away.
    pub(super) cursors: Mutex<HashMap<String, Cursor>>,
    pub(super) letters: Letters,
    requests: Mutex<VecDeque<(&'static str, Payload)>>,
    readers: Mutex<Vec<Weak<Progress>>>,
    reader_ids: AtomicU64,
    pub(super) stored: Notify,
    pub(super) pending: Pending,
    pub(super) faults: Faults,
    encodes: AtomicBool,
}

/// Queue groups by wire name.
type Groups = HashMap<&'static str, Group, ByName>;

#[derive(Default)]
struct Group {
    members: Vec<Member>,
    next: usize,
}

/// A member of a queue group.
struct Member {
    seat: Arc<Seat>,
    serve: Arc<dyn Serve>,
    /// The same with its type, for calls that may stay typed. Its count is this member's own.
    near: Option<Server>,
}

impl Member {
    fn new(seat: Arc<Seat>, serve: Arc<dyn Serve>) -> Self {
        let near = (&*serve as &dyn Any).downcast_ref::<Server>().map(Server::apart);
        Self { seat, serve, near }
    }
}

/// A request on its way to a member.
pub(super) struct Entered {
    pub(super) seat: Arc<Seat>,
    pub(super) serve: Arc<dyn Serve>,
    pub(super) underway: [Underway; 2],
}

/// Where a durable consumer stands: the next event, and those before it that come again.
#[derive(Debug, Default, Clone)]
pub(super) struct Cursor {
    pub(super) next: u64,
    /// Each with the reader that did not settle it.
    pub(super) again: BTreeMap<u64, u64>,
    pub(super) readers: BTreeSet<u64>,
    /// Of a group: its events that have a key.
    pub(super) lanes: Lanes,
}

impl Cursor {
    /// The first event that comes again for this reader: not what it did not settle itself, while others are there.
    pub(super) fn again_for(&mut self, reader: u64) -> Option<u64> {
        let alone = self.readers.len() == 1;
        let (&sequence, _) = self.again.iter().find(|(_, by)| alone || **by != reader)?;
        self.again.remove(&sequence);
        Some(sequence)
    }
}

/// How far a reader has looked, and in which log.
pub(super) struct Progress {
    jobs: bool,
    looked: AtomicU64,
}

impl Progress {
    pub(super) fn set(&self, sequence: u64) {
        self.looked.store(sequence, Ordering::SeqCst);
    }

    fn is_behind(&self, hub: &Hub) -> bool {
        self.looked.load(Ordering::SeqCst) < hub.log(self.jobs).last()
    }
}

impl Hub {
    /// A new reader, known until its progress is dropped.
    pub(super) fn reader(&self, jobs: bool) -> Arc<Progress> {
        let progress = Arc::new(Progress { jobs, looked: AtomicU64::new(0) });
        let mut readers = lock(&self.readers);
        readers.retain(|reader| reader.strong_count() > 0);
        readers.push(Arc::downgrade(&progress));
        progress
    }

    /// The jobs, or the events.
    pub(super) fn log(&self, jobs: bool) -> &Log {
        if jobs { &self.jobs } else { &self.events }
    }

    /// Tells one reader from another.
    pub(super) fn reader_id(&self) -> u64 {
        self.reader_ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether a reader has not looked at the newest event yet, or an event is to come again.
    pub(super) fn is_behind(&self) -> bool {
        let waits = |cursor: &Cursor| !cursor.again.is_empty() || cursor.lanes.has_waiting();
        if lock(&self.cursors).values().any(|cursor| !cursor.readers.is_empty() && waits(cursor)) {
            return true;
        }
        if self.letters.is_behind() {
            return true;
        }
        let readers = lock(&self.readers);
        readers.iter().filter_map(Weak::upgrade).any(|reader| reader.is_behind(self))
    }

    pub(super) fn encodes(&self) -> bool {
        self.encodes.load(Ordering::Relaxed)
    }

    pub(super) fn set_encodes(&self, encodes: bool) {
        self.encodes.store(encodes, Ordering::Relaxed);
    }

    /// A seat for the node, unless one of this id is there.
    pub(super) fn join(&self, node: &NodeIdentity) -> Option<Arc<Seat>> {
        let mut nodes = lock(&self.nodes);
        if nodes.contains_key(&node.node) {
            return None;
        }
        let seat = Arc::new(Seat::new(node.clone()));
        nodes.insert(node.node.clone(), seat.clone());
        Some(seat)
    }

    pub(super) fn serve(&self, name: &'static str, seat: Arc<Seat>, serve: Arc<dyn Serve>) {
        for groups in self.groups.all() {
            let member = Member::new(seat.clone(), serve.clone());
            lock(groups).entry(name).or_default().members.push(member);
        }
    }

    /// The next member of a queue group, typed.
    pub(super) fn pick(&self, name: &str) -> Option<Server> {
        self.with_next(name, |member| member.near.clone())?
    }

    /// The next member of a queue group, with the request counted as under way there.
    pub(super) fn enter(&self, name: &str) -> Option<Entered> {
        self.with_next(name, |member| self.entered(member))
    }

    /// Answers what is sent to a node by its id.
    pub(super) fn serve_node(&self, seat: Arc<Seat>, serve: Arc<dyn Serve>) {
        lock(&self.by_node).insert(seat.identity.node.clone(), Member::new(seat, serve));
    }

    /// A node by its id, with the request counted as under way there.
    pub(super) fn enter_node(&self, node: &str) -> Option<Entered> {
        let by_node = lock(&self.by_node);
        by_node.get(node).map(|member| self.entered(member))
    }

    fn entered(&self, Member { seat, serve, .. }: &Member) -> Entered {
        Entered {
            seat: seat.clone(),
            serve: serve.clone(),
            underway: [self.pending.enter(), seat.in_hand.enter()],
        }
    }

    fn with_next<T>(&self, name: &str, take: impl FnOnce(&Member) -> T) -> Option<T> {
        let mut groups = lock(self.groups.here());
        let Group { members, next } = groups.get_mut(name)?;
        let index = if *next < members.len() { *next } else { 0 };
        *next = index + 1;
        members.get(index).map(take)
    }

    pub(super) fn publish(&self, message: Outgoing) -> Result<Receipt, TransportErrorKind> {
        let receipt = self.events.push(self.as_stored(message)?);
        self.stored.notify_waiters();
        Ok(receipt)
    }

    /// Stores a job; refused when there are too many, for nothing pushes them out.
    pub(super) fn enqueue(&self, message: Outgoing) -> Result<Receipt, TransportErrorKind> {
        let message = self.as_stored(message)?;
        let receipt = self.jobs.push_if_room(message).ok_or(TransportErrorKind::Unavailable)?;
        self.stored.notify_waiters();
        Ok(receipt)
    }

    /// Stores a job later. One under an id that waits already changes nothing.
    pub(super) fn schedule(
        self: &Arc<Self>,
        message: Outgoing,
        after: Duration,
    ) -> Result<Receipt, TransportErrorKind> {
        let id = message.envelope.id();
        let mut scheduled = lock(&self.scheduled);
        if scheduled.contains_key(&id) {
            return Ok(Receipt { sequence: 0, duplicate: true });
        }
        if scheduled.len() >= SCHEDULED_MAX {
            return Err(TransportErrorKind::Unavailable);
        }
        let message = self.as_stored(message)?;
        let hub = self.clone();
        let waiting = tokio::spawn(async move {
            sleep(after).await;
            lock(&hub.scheduled).remove(&id);
            if hub.enqueue(message).is_err() {
                error!(%id, "a scheduled job found no room, and is lost");
            }
        });
        scheduled.insert(id, waiting.abort_handle());
        Ok(Receipt { sequence: 0, duplicate: false })
    }

    /// Whether a job that was not due yet was taken back.
    pub(super) fn cancel(&self, id: Uuid) -> bool {
        let waiting = lock(&self.scheduled).remove(&id);
        waiting.map(|waiting| waiting.abort()).is_some()
    }

    /// The message as the bus keeps it.
    fn as_stored(&self, mut message: Outgoing) -> Result<Outgoing, TransportErrorKind> {
        if self.encodes() {
            let (codec, bytes) =
                message.payload.encoded(Codec::default()).map_err(|_| TransportErrorKind::TooLarge)?;
            if bytes.len() > MESSAGE_BYTES_MAX {
                return Err(TransportErrorKind::TooLarge);
            }
            message.payload = Payload::Bytes { codec, bytes };
        }
        Ok(message)
    }

    pub(super) fn record(&self, name: &'static str, payload: Payload) {
        push_bounded(&mut lock(&self.requests), (name, payload), REQUESTS_MAX);
    }

    pub(super) fn requests(&self) -> Vec<(&'static str, Payload)> {
        lock(&self.requests).iter().cloned().collect()
    }

    /// Takes the node out of all groups, then waits for what it has in hand. Its id is free afterwards.
    pub(super) async fn leave(&self, seat: &Arc<Seat>, deadline: Instant) -> LeaveReport {
        seat.leave();
        self.withdraw(seat);
        let report = seat.finish(deadline).await;
        self.free(seat);
        report
    }

    pub(super) fn remove(&self, seat: &Arc<Seat>) {
        seat.cut();
        self.withdraw(seat);
        self.free(seat);
    }

    fn withdraw(&self, seat: &Arc<Seat>) {
        let stays = |member: &Member| !Arc::ptr_eq(&member.seat, seat);
        for groups in self.groups.all() {
            lock(groups).values_mut().for_each(|group| group.members.retain(stays));
        }
        lock(&self.by_node).retain(|_, member| stays(member));
    }

    fn free(&self, seat: &Arc<Seat>) {
        let mut nodes = lock(&self.nodes);
        if nodes.get(&seat.identity.node).is_some_and(|there| Arc::ptr_eq(there, seat)) {
            nodes.remove(&seat.identity.node); // and not the seat of a successor
        }
    }
}

/// Adds to the end; the oldest goes when it is full.
fn push_bounded<T>(queue: &mut VecDeque<T>, item: T, max: usize) {
    if queue.len() == max {
        queue.pop_front();
    }
    queue.push_back(item);
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
