//! A node's way to everything outside of it, which breaks at one call: that is how the node dies.
use std::{
    future::pending,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::watch;

/// On which side of its effect the last call breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// It never reaches the outside.
    Before,
    /// It is done outside, and its answer never arrives.
    After,
}

/// What happened outside, in order, over all lives of the node: it outlives them.
#[derive(Default)]
pub(crate) struct Ledger {
    state: Mutex<Record>,
}

#[derive(Default, Clone)]
pub(crate) struct Record {
    /// Each call that took effect.
    pub(crate) done: Vec<String>,
    /// How many of them there were at each death of the node.
    pub(crate) died_at: Vec<usize>,
}

impl Ledger {
    pub(crate) fn note(&self, line: impl Into<String>) {
        self.state().done.push(line.into());
    }

    pub(crate) fn record(&self) -> Record {
        self.state().clone()
    }

    fn died(&self) {
        let mut state = self.state();
        let done = state.done.len();
        state.died_at.push(done);
    }

    fn state(&self) -> MutexGuard<'_, Record> {
        self.state.lock().unwrap()
    }
}

/// One life of the node: all its calls to the outside go through here.
pub(crate) struct Fuse {
    last: Option<(usize, Side)>,
    calls: Mutex<Vec<&'static str>>,
    count: AtomicUsize,
    blown: watch::Sender<bool>,
    pub(crate) ledger: Arc<Ledger>,
}

impl Fuse {
    /// A life that ends at its `last` call, or in order.
    pub(crate) fn new(last: Option<(usize, Side)>, ledger: Arc<Ledger>) -> Arc<Self> {
        let (calls, count) = (Mutex::default(), AtomicUsize::new(0));
        Arc::new(Self { last, calls, count, blown: watch::Sender::new(false), ledger })
    }

    /// Makes a call to the outside. From the node's death on, none begins and none is answered.
    pub(crate) async fn call<T>(&self, name: &'static str, call: impl Future<Output = T>) -> T {
        if self.is_blown() {
            return pending().await;
        }
        let number = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        self.calls.lock().unwrap().push(name);
        if self.last == Some((number, Side::Before)) {
            return self.blow().await;
        }
        let answer = call.await;
        if self.last == Some((number, Side::After)) && !self.is_blown() {
            return self.blow().await;
        }
        if self.is_blown() { pending().await } else { answer }
    }

    /// Returns when the node died.
    pub(crate) async fn blown(&self) {
        self.blown.subscribe().wait_for(|blown| *blown).await.expect("the sender lives in self");
    }

    pub(crate) fn is_blown(&self) -> bool {
        *self.blown.borrow()
    }

    /// The calls of this life, in order.
    pub(crate) fn calls(&self) -> Vec<&'static str> {
        self.calls.lock().unwrap().clone()
    }

    async fn blow<T>(&self) -> T {
        self.ledger.died();
        self.blown.send_replace(true);
        pending().await
    }
}
