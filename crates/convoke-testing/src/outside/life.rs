use std::{
    borrow::Cow,
    fmt,
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use convoke_core::{Stores, Transport};
use tokio::sync::watch;

use super::{CrashPoint, Effect, Ledger, OutsideStores, OutsideTransport};

/// One life of a node: all its calls to the outside go through here, and at one of them it may end.
pub struct Life {
    last: Option<CrashPoint>,
    calls: Mutex<Vec<Cow<'static, str>>>,
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
        Self { last: None, calls: Mutex::default(), ended, ledger, links: Mutex::default() }
    }

    /// The same, with a death.
    #[must_use]
    pub fn until(mut self, last: Option<CrashPoint>) -> Self {
        self.last = last;
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
        Stores::of(OutsideStores::new(inner.clone(), self.clone()))
    }

    /// Makes a call to the outside. From the node's death on, none begins and none is answered.
    pub async fn call<T>(&self, name: impl Into<Cow<'static, str>>, call: impl Future<Output = T>) -> T {
        if self.has_ended() {
            return pending().await;
        }
        let number = self.begin(name.into());
        if self.last == Some(CrashPoint::before(number)) {
            return self.end().await;
        }
        let answer = call.await;
        if self.last == Some(CrashPoint::after(number)) && !self.has_ended() {
            return self.end().await;
        }
        if self.has_ended() { pending().await } else { answer }
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

    /// The number of a call that begins now, from 1.
    fn begin(&self, name: Cow<'static, str>) -> usize {
        let mut calls = lock(&self.calls);
        calls.push(name);
        calls.len()
    }

    /// The broker sees the connections end, however the node goes.
    async fn end<T>(&self) -> T {
        self.ledger.died();
        self.ended.send_replace(true);
        lock(&self.links).iter().for_each(|link| link.abandon());
        pending().await
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
