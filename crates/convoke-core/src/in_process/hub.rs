use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout_at},
};
use uuid::Uuid;

use super::watch::Faults;
use crate::{Codec, DeadLetter, LeaveReport, Outgoing, Payload, Receipt, Serve, TransportErrorKind};

/// Events a bus keeps; the oldest go first, as in a stream with limits.
pub(super) const EVENTS_MAX: usize = 65_536;
/// Dead letters a bus keeps.
const DEAD_MAX: usize = 10_000;
/// Requests a bus remembers for tests.
const REQUESTS_MAX: usize = 10_000;
/// The largest message, as on a NATS server with default settings.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// What nodes of one process share.
#[derive(Default)]
pub(super) struct Hub {
    groups: RwLock<HashMap<&'static str, Group>>,
    nodes: Mutex<HashMap<String, Place>>,
    log: Mutex<Log>,
    /// Where durable consumers stand, kept while their node is away.
    pub(super) cursors: Mutex<HashMap<String, Cursor>>,
    dead: Mutex<VecDeque<DeadLetter>>,
    requests: Mutex<VecDeque<(&'static str, Payload)>>,
    readers: Mutex<Vec<Weak<Progress>>>,
    pub(super) stored: Notify,
    pub(super) pending: Pending,
    pub(super) faults: Faults,
    encodes: AtomicBool,
}

/// A node on the bus.
#[derive(Clone)]
pub(super) struct Place {
    leaving: watch::Sender<bool>,
    /// What this node has in hand.
    pub(super) pending: Pending,
    /// Events it gave back.
    pub(super) handed_back: Arc<AtomicU64>,
}

impl Place {
    /// Turns true when the node leaves.
    pub(super) fn leaving(&self) -> watch::Receiver<bool> {
        self.leaving.subscribe()
    }
}

#[derive(Default)]
struct Group {
    members: Vec<Member>,
    next: AtomicUsize,
}

/// A member of a queue group.
#[derive(Clone)]
pub(super) struct Member {
    node: String,
    pending: Pending,
    pub(super) serve: Arc<dyn Serve>,
}

/// The stream: events with their numbers, from 1.
#[derive(Default)]
struct Log {
    events: VecDeque<Outgoing>,
    first: u64,
    ids: HashSet<Uuid>,
}

/// Where a durable consumer stands: the next event, and those before it that were handed back.
#[derive(Debug, Default, Clone)]
pub(super) struct Cursor {
    pub(super) next: u64,
    pub(super) again: VecDeque<u64>,
}

/// How far a reader has looked.
#[derive(Default)]
pub(super) struct Progress(AtomicU64);

impl Progress {
    pub(super) fn set(&self, sequence: u64) {
        self.0.store(sequence, Ordering::SeqCst);
    }
}

impl Hub {
    /// A new reader, known until its progress is dropped.
    pub(super) fn reader(&self) -> Arc<Progress> {
        let progress = Arc::new(Progress::default());
        let mut readers = lock(&self.readers);
        readers.retain(|reader| reader.strong_count() > 0);
        readers.push(Arc::downgrade(&progress));
        progress
    }

    /// Whether a reader has not looked at the newest event yet.
    pub(super) fn is_behind(&self) -> bool {
        let last = self.last();
        let readers = lock(&self.readers);
        readers.iter().filter_map(Weak::upgrade).any(|reader| reader.0.load(Ordering::SeqCst) < last)
    }

    pub(super) fn encodes(&self) -> bool {
        self.encodes.load(Ordering::Relaxed)
    }

    pub(super) fn set_encodes(&self, encodes: bool) {
        self.encodes.store(encodes, Ordering::Relaxed);
    }

    /// `false` when a node of this id is there.
    pub(super) fn join(&self, node: &str) -> bool {
        let mut nodes = lock(&self.nodes);
        if nodes.contains_key(node) {
            return false;
        }
        let place = Place {
            leaving: watch::Sender::new(false),
            pending: Pending::default(),
            handed_back: Arc::default(),
        };
        nodes.insert(node.to_owned(), place);
        true
    }

    /// The node's place, while it is on the bus.
    pub(super) fn place(&self, node: &str) -> Option<Place> {
        lock(&self.nodes).get(node).cloned()
    }

    pub(super) fn serve(&self, name: &'static str, node: &str, serve: Arc<dyn Serve>) {
        let Some(place) = self.place(node) else { return };
        let member = Member { node: node.to_owned(), pending: place.pending, serve };
        let mut groups = self.groups.write().unwrap_or_else(PoisonError::into_inner);
        groups.entry(name).or_default().members.push(member);
    }

    /// The next member of a queue group.
    pub(super) fn pick(&self, name: &str) -> Option<Arc<dyn Serve>> {
        self.with_next(name, |member| member.serve.clone())
    }

    /// The next member of a queue group, with the request counted as under way there.
    pub(super) fn enter(&self, name: &str) -> Option<(Arc<dyn Serve>, [Underway; 2])> {
        self.with_next(name, |member| (member.serve.clone(), [self.pending.enter(), member.pending.enter()]))
    }

    fn with_next<T>(&self, name: &str, take: impl FnOnce(&Member) -> T) -> Option<T> {
        let groups = self.groups.read().unwrap_or_else(PoisonError::into_inner);
        let group = groups.get(name)?;
        let index = match group.members.len() {
            0 => return None,
            1 => 0,
            members => group.next.fetch_add(1, Ordering::Relaxed) % members,
        };
        Some(take(&group.members[index]))
    }

    pub(super) fn publish(&self, mut message: Outgoing) -> Result<Receipt, TransportErrorKind> {
        if self.encodes() {
            let (codec, bytes) =
                message.payload.encoded(Codec::default()).map_err(|_| TransportErrorKind::TooLarge)?;
            if bytes.len() > MESSAGE_BYTES_MAX {
                return Err(TransportErrorKind::TooLarge);
            }
            message.payload = Payload::Bytes { codec, bytes };
        }
        let id = message.envelope.id();
        let receipt = lock(&self.log).append(message, id);
        if !receipt.duplicate {
            self.stored.notify_waiters();
        }
        Ok(receipt)
    }

    /// The event with this number, or the next one that is still kept.
    pub(super) fn event(&self, sequence: u64) -> Option<(u64, Outgoing)> {
        lock(&self.log).get(sequence)
    }

    /// The number of the newest event; 0 when there was none.
    pub(super) fn last(&self) -> u64 {
        lock(&self.log).last()
    }

    pub(super) fn events(&self) -> Vec<Outgoing> {
        lock(&self.log).events.iter().cloned().collect()
    }

    pub(super) fn record(&self, name: &'static str, payload: Payload) {
        push_bounded(&mut lock(&self.requests), (name, payload), REQUESTS_MAX);
    }

    pub(super) fn requests(&self) -> Vec<(&'static str, Payload)> {
        lock(&self.requests).iter().cloned().collect()
    }

    pub(super) fn bury(&self, letter: DeadLetter) {
        push_bounded(&mut lock(&self.dead), letter, DEAD_MAX);
    }

    pub(super) fn dead(&self) -> Vec<DeadLetter> {
        lock(&self.dead).iter().cloned().collect()
    }

    /// Takes the node out of all groups, then waits for what it has in hand.
    pub(super) async fn leave(&self, node: &str, deadline: Instant) -> LeaveReport {
        let Some(place) = self.place(node) else { return LeaveReport::default() };
        let before = place.pending.count();
        self.remove(node);
        let _ = timeout_at(deadline, place.pending.rest()).await; // what is left then is counted as lost
        let lost = place.pending.count();
        let handed_back = place.handed_back.load(Ordering::Relaxed);
        let settled = before.saturating_sub(lost) as u64;
        LeaveReport { finished: settled.saturating_sub(handed_back), handed_back, lost: lost as u64 }
    }

    pub(super) fn remove(&self, node: &str) {
        if let Some(place) = lock(&self.nodes).remove(node) {
            place.leaving.send_replace(true);
        }
        let mut groups = self.groups.write().unwrap_or_else(PoisonError::into_inner);
        groups.values_mut().for_each(|group| group.members.retain(|member| member.node != node));
    }
}

impl Log {
    fn append(&mut self, message: Outgoing, id: Uuid) -> Receipt {
        if self.first == 0 {
            self.first = 1;
        }
        if !self.ids.insert(id) {
            let place = self.events.iter().position(|event| event.envelope.id() == id).unwrap_or(0);
            return Receipt { sequence: self.first + place as u64, duplicate: true };
        }
        self.events.push_back(message);
        if self.events.len() > EVENTS_MAX
            && let Some(oldest) = self.events.pop_front()
        {
            self.ids.remove(&oldest.envelope.id());
            self.first += 1;
        }
        Receipt { sequence: self.last(), duplicate: false }
    }

    fn last(&self) -> u64 {
        (self.first + self.events.len() as u64).saturating_sub(1)
    }

    fn get(&self, sequence: u64) -> Option<(u64, Outgoing)> {
        let sequence = sequence.max(self.first);
        let index = usize::try_from(sequence - self.first).ok()?;
        self.events.get(index).map(|event| (sequence, event.clone()))
    }
}

/// What is under way, on the bus or at one node: requests, and events that a consumer has not settled.
#[derive(Default, Clone)]
pub(super) struct Pending(Arc<Counter>);

#[derive(Default)]
struct Counter {
    count: AtomicUsize,
    rest: Notify,
}

/// One thing under way; its drop is its end.
pub(super) struct Underway(Arc<Counter>);

impl Pending {
    pub(super) fn enter(&self) -> Underway {
        self.0.count.fetch_add(1, Ordering::SeqCst);
        Underway(self.0.clone())
    }

    pub(super) fn count(&self) -> usize {
        self.0.count.load(Ordering::SeqCst)
    }

    /// Returns when nothing is under way.
    pub(super) async fn rest(&self) {
        loop {
            let rest = self.0.rest.notified();
            let mut rest = std::pin::pin!(rest);
            rest.as_mut().enable(); // before the look, so that no end is missed
            if self.count() == 0 {
                return;
            }
            rest.await;
        }
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.rest.notify_waiters();
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
