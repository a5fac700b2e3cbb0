use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use convoke_core::{BoxFuture, Consume, Incoming, Settled};

use super::{Gate, text};
use crate::eventually;

type Settle = dyn Fn(Incoming) -> BoxFuture<'static, Settled> + Send + Sync;

/// Settles events as a test says, and keeps what it got.
pub struct Listener {
    settle: Box<Settle>,
    seen: Mutex<Vec<Incoming>>,
    caught_up: AtomicUsize,
    in_flight: Arc<AtomicUsize>,
    in_flight_peak: AtomicUsize,
}

impl Listener {
    /// Is done with each event at once.
    #[must_use]
    pub fn done() -> Arc<Self> {
        Self::settling(|_| Box::pin(async { Settled::Done }))
    }

    /// Is done with an event when the gate lets it.
    #[must_use]
    pub fn behind(gate: &Gate) -> Arc<Self> {
        let gate = gate.clone();
        Self::settling(move |_| {
            let gate = gate.clone();
            Box::pin(async move {
                gate.pass().await;
                Settled::Done
            })
        })
    }

    /// Never settles.
    #[must_use]
    pub fn stuck() -> Arc<Self> {
        Self::settling(|_| Box::pin(std::future::pending()))
    }

    /// Settles as the function says.
    #[must_use]
    pub fn settling(
        settle: impl Fn(Incoming) -> BoxFuture<'static, Settled> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            settle: Box::new(settle),
            seen: Mutex::default(),
            caught_up: AtomicUsize::new(0),
            in_flight: Arc::default(),
            in_flight_peak: AtomicUsize::new(0),
        })
    }

    /// What it got, in order.
    #[must_use]
    pub fn seen(&self) -> Vec<Incoming> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The contents of what it got, in order.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        self.seen().iter().map(|incoming| text(&incoming.payload)).collect()
    }

    /// How often it was told that it is caught up.
    #[must_use]
    pub fn caught_up_count(&self) -> usize {
        self.caught_up.load(Ordering::SeqCst)
    }

    /// The most events it ever had and had not settled.
    #[must_use]
    pub fn in_flight_peak(&self) -> usize {
        self.in_flight_peak.load(Ordering::SeqCst)
    }

    /// Waits until it got so many.
    pub async fn has_seen(&self, count: usize) {
        eventually("the events arrived", || async {
            let seen = self.texts();
            if seen.len() >= count { Ok(()) } else { Err(format!("{} of {count}: {seen:?}", seen.len())) }
        })
        .await;
    }

    /// Waits until it got this one.
    pub async fn has_seen_text(&self, wanted: &str) {
        eventually("the event arrived", || async {
            let seen = self.texts();
            if seen.iter().any(|text| text == wanted) { Ok(()) } else { Err(format!("{seen:?}")) }
        })
        .await;
    }
}

impl Consume for Listener {
    fn consume(&self, incoming: Incoming) -> BoxFuture<'static, Settled> {
        let in_flight = InFlight::begin(&self.in_flight);
        self.in_flight_peak.fetch_max(self.in_flight.load(Ordering::SeqCst), Ordering::SeqCst);
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(incoming.clone());
        let settle = (self.settle)(incoming);
        Box::pin(async move {
            let settled = settle.await;
            drop(in_flight);
            settled
        })
    }

    fn caught_up(&self) {
        self.caught_up.fetch_add(1, Ordering::SeqCst);
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("seen", &self.texts()).finish_non_exhaustive()
    }
}

/// Counts from the hand-over until the event settles or its future is dropped.
struct InFlight(Arc<AtomicUsize>);

impl InFlight {
    fn begin(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
