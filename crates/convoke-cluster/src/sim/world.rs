//! What is around the nodes: the network between them, its faults, and who is alive.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};

use super::{
    dice::Dice,
    trace::{Event, Trace},
};
use crate::{NodeId, engine::net::BoxWire};

/// One start of a node. A crash ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Life {
    pub(super) node: NodeId,
    pub(super) nth: u64,
}

/// How long a piece takes from one node to another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Delay {
    pub(super) least_ms: u64,
    pub(super) most_ms: u64,
}

const USUAL: Delay = Delay { least_ms: 1, most_ms: 4 };

/// The network, and who lives.
#[derive(Debug)]
pub(super) struct World {
    state: Mutex<State>,
    /// Wakes all wires, in the order in which they began to wait, which no other means does.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    seed: u64,
    /// Of each way between two nodes: what happens on one does not change what is drawn for another.
    dice: BTreeMap<(NodeId, NodeId), Dice>,
    trace: Trace,
    /// What is sent from the first to the second does not arrive.
    blocked: BTreeSet<(NodeId, NodeId)>,
    delays: BTreeMap<(NodeId, NodeId), Delay>,
    /// How often the connections between two nodes, the lower one first, were cut.
    cuts: BTreeMap<(NodeId, NodeId), u64>,
    lives: BTreeMap<NodeId, u64>,
    doors: BTreeMap<String, (Life, mpsc::UnboundedSender<BoxWire>)>,
}

fn pair(a: NodeId, b: NodeId) -> (NodeId, NodeId) {
    (a.min(b), a.max(b))
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let state = State {
            seed,
            dice: BTreeMap::new(),
            trace: Trace::start(),
            blocked: BTreeSet::new(),
            delays: BTreeMap::new(),
            cuts: BTreeMap::new(),
            lives: BTreeMap::new(),
            doors: BTreeMap::new(),
        };
        Self { state: Mutex::new(state), changed: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.state());
        self.changed.notify_waiters();
        changed
    }

    /// Waits until this holds.
    pub(super) async fn until(&self, mut holds: impl FnMut(&Self) -> bool) {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if holds(self) {
                return;
            }
            changed.await;
        }
    }

    pub(super) fn note(&self, what: &'static str, who: [u64; 3]) {
        self.state().trace.add(what, who);
    }

    pub(super) fn trace(&self) -> (u64, Vec<Event>) {
        let state = self.state();
        (state.trace.hash(), state.trace.events())
    }

    /// A node starts, and listens.
    pub(super) fn begin(&self, node: NodeId, at: &str) -> (Life, mpsc::UnboundedReceiver<BoxWire>) {
        let (door, callers) = mpsc::unbounded_channel();
        let life = self.change(|state| {
            let nth = state.lives.get(&node).map_or(1, |last| last + 1);
            state.lives.insert(node, nth);
            let life = Life { node, nth };
            state.doors.insert(at.to_owned(), (life, door));
            state.trace.add("start", [node, nth, 0]);
            life
        });
        (life, callers)
    }

    /// A node dies: nothing that its life still does gets out.
    pub(super) fn end(&self, life: Life) {
        self.change(|state| {
            state.doors.retain(|_, (of, _)| *of != life);
            if let Some(nth) = state.lives.get_mut(&life.node).filter(|nth| **nth == life.nth) {
                *nth += 1;
            }
            state.trace.add("crash", [life.node, life.nth, 0]);
        });
    }

    pub(super) fn lives(&self, life: Life) -> bool {
        self.state().lives.get(&life.node) == Some(&life.nth)
    }

    /// Who listens there.
    pub(super) fn door(&self, at: &str) -> Option<(Life, mpsc::UnboundedSender<BoxWire>)> {
        self.state().doors.get(at).cloned()
    }

    pub(super) fn cuts(&self, a: NodeId, b: NodeId) -> u64 {
        self.state().cuts.get(&pair(a, b)).copied().unwrap_or(0)
    }

    pub(super) fn passes(&self, from: NodeId, to: NodeId) -> bool {
        !self.state().blocked.contains(&(from, to))
    }

    /// When a piece that is sent now arrives.
    pub(super) fn arrival(&self, from: NodeId, to: NodeId) -> Instant {
        let mut state = self.state();
        let Delay { least_ms, most_ms } = state.delays.get(&(from, to)).copied().unwrap_or(USUAL);
        Instant::now() + state.dice(from, to).millis(least_ms..most_ms + 1)
    }

    /// What one node sends to another is lost from now on.
    pub(super) fn block(&self, from: NodeId, to: NodeId) {
        self.change(|state| {
            state.blocked.insert((from, to));
            state.trace.add("block", [from, to, 0]);
        });
    }

    pub(super) fn slow(&self, from: NodeId, to: NodeId, delay: Delay) {
        self.change(|state| {
            state.delays.insert((from, to), delay);
            state.trace.add("slow", [from, to, delay.most_ms]);
        });
    }

    /// All connections between two nodes break.
    pub(super) fn cut(&self, a: NodeId, b: NodeId) {
        self.change(|state| {
            *state.cuts.entry(pair(a, b)).or_default() += 1;
            state.trace.add("cut", [a, b, 0]);
        });
    }

    /// The network is as it should be.
    pub(super) fn heal(&self) {
        self.change(|state| {
            state.blocked.clear();
            state.delays.clear();
            state.trace.add("heal", [0; 3]);
        });
    }

    /// How long it takes to call somebody.
    pub(super) fn ring(&self, from: NodeId) -> Duration {
        self.state().dice(from, 0).millis(1..4)
    }
}

impl State {
    fn dice(&mut self, from: NodeId, to: NodeId) -> &mut Dice {
        let seed = self.seed;
        self.dice.entry((from, to)).or_insert_with(|| Dice::of(seed, &format!("way {from} {to}")))
    }
}
