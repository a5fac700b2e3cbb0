use std::{
    borrow::Cow,
    fmt,
    future::pending,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use convoke_core::{Stores, Transport};
use tokio::{sync::watch, time::Instant};

use super::{CrashPoint, Effect, Ledger, OutsideStores, OutsideTransport, Side, Turns, Watched};
use crate::faults::{Broken, Plan};

/// One life of a node: all its calls to the outside go through here, and at one of them it may end.
pub struct Life {
    last: Option<CrashPoint>,
    faults: Option<Arc<Plan>>,
    /// Whether the faults may end it.
    mortal: bool,
    turns: Option<(Arc<Turns>, usize)>,
    calls: Mutex<Vec<Cow<'static, str>>>,
    handled: AtomicBool,
    ended: watch::Sender<bool>,
    ledger: Arc<Ledger>,
    /// What the broker sees the end of.
    links: Mutex<Vec<Arc<dyn Transport>>>,
}

impl Life {
    /// A life that ends in order.
    #[must_use]
    pub fn new(ledger: Arc<Ledger>) -> Self {
        let ended = watch::Sender::new(false);
        let (calls, links) = (Mutex::default(), Mutex::default());
        let handled = AtomicBool::new(false);
        Self { last: None, faults: None, mortal: false, turns: None, calls, handled, ended, ledger, links }
    }

    /// The same, with a death.
    #[must_use]
    pub fn until(mut self, last: Option<CrashPoint>) -> Self {
        self.last = last;
        self
    }

    /// The same, with faults, which may end it when it is `mortal`.
    pub(crate) fn faults(mut self, faults: Arc<Plan>, mortal: bool) -> Self {
        (self.faults, self.mortal) = (Some(faults), mortal);
        self
    }

    /// The same, as a party whose calls are its steps.
    #[must_use]
    pub fn in_turns(mut self, turns: Arc<Turns>, party: usize) -> Self {
        self.turns = Some((turns, party));
        self
    }

    /// A transport as this life reaches it. It is abandoned when the life ends.
    #[must_use]
    pub fn transport(self: &Arc<Self>, inner: impl Transport) -> OutsideTransport {
        let inner: Arc<dyn Transport> = Arc::new(inner);
        lock(&self.links).push(inner.clone());
        OutsideTransport::new(inner, self.clone())
    }

    /// The stores as this life reaches them.
    #[must_use]
    pub fn stores(self: &Arc<Self>, inner: &Stores) -> Stores {
        let outside = Arc::new(OutsideStores::new(inner.clone(), self.clone()));
        let outbox = inner.outbox.is_some().then(|| outside.clone() as _);
        Stores { claims: outside.clone(), marks: outside, outbox }
    }

    /// What an app needs, as the last of its behaviours, for its handlers' waits and [`step`](super::step)s to count.
    #[must_use]
    pub fn watch(self: &Arc<Self>) -> Watched {
        Watched(self.clone())
    }

    /// Makes a call to the outside. From the node's death on, none begins and none is answered.
    pub async fn call<T>(&self, name: impl Into<Cow<'static, str>>, call: impl Future<Output = T>) -> T {
        if self.has_ended() {
            return pending().await;
        }
        let name = name.into();
        let last = self.begin(name.clone());
        if let Some((turns, party)) = &self.turns {
            turns.pass(*party, name).await;
        }
        if last == Some(Side::Before) {
            return self.end().await;
        }
        let answer = call.await;
        if last == Some(Side::After) && !self.has_ended() {
            return self.end().await;
        }
        if self.has_ended() { pending().await } else { answer }
    }

    /// A call that can fail, with what the faults make of it.
    pub(super) async fn try_call<T, E: Broken>(
        &self,
        name: impl Into<Cow<'static, str>>,
        by: Option<Instant>,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let name = name.into();
        let Some(plan) = &self.faults else { return self.call(name, call).await };
        let _in_transit = plan.enter();
        let fate = plan.fate(&name);
        self.call(name, fate.befall(by, call)).await
    }

    /// Adds a line to the ledger.
    pub fn note(&self, line: impl Into<String>) {
        self.ledger.note(line);
    }

    /// Returns when the node died.
    pub async fn ended(&self) {
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await; // the sender lives in self
    }

    /// Whether the node died.
    pub fn has_ended(&self) -> bool {
        *self.ended.borrow()
    }

    /// What was called in this life, in order: each what it does, then what with.
    pub fn calls(&self) -> Vec<String> {
        lock(&self.calls).iter().map(|call| call.to_string()).collect()
    }

    pub(super) fn add(&self, effect: Effect) {
        self.ledger.add(effect);
    }

    /// A handler runs.
    pub(super) fn handles(&self) {
        self.handled.store(true, Ordering::Relaxed);
    }

    /// Whether a handler ran, of those that are watched.
    pub fn has_handled(&self) -> bool {
        self.handled.load(Ordering::Relaxed)
    }

    /// A handler waits: the node may die while it does.
    pub(super) fn waits(&self, name: &str) {
        if !self.has_ended() && self.begin(name.to_owned().into()).is_some() {
            self.die();
        }
    }

    /// The faults of this life.
    pub(super) fn plan(&self) -> Option<&Arc<Plan>> {
        self.faults.as_ref()
    }

    /// A call begins now. Tells on which side of it the node dies, when it does.
    fn begin(&self, name: Cow<'static, str>) -> Option<Side> {
        let drawn = self.faults.as_ref().filter(|_| self.mortal).and_then(|plan| plan.crashes(&name));
        let mut calls = lock(&self.calls);
        calls.push(name);
        let last = self.last.filter(|last| last.call == calls.len());
        last.map(|last| last.side).or(drawn)
    }

    async fn end<T>(&self) -> T {
        self.die();
        pending().await
    }

    /// The broker sees the connections end, however the node goes.
    fn die(&self) {
        self.ledger.died();
        self.ended.send_replace(true);
        lock(&self.links).iter().for_each(|link| link.abandon());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Life")
            .field("last", &self.last)
            .field("calls", &self.calls())
            .field("ended", &self.has_ended())
            .finish_non_exhaustive()
    }
}
