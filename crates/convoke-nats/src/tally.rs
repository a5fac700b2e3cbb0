//! Counts what runs, so that a node can leave when it is done.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use tokio::sync::{Notify, Semaphore};

/// Work in hand, and the two moments of leaving.
#[derive(Debug)]
pub(crate) struct Tally {
    running: AtomicUsize,
    idle: Notify,
    pub(crate) finished: AtomicU64,
    pub(crate) handed_back: AtomicU64,
    /// No more work is taken.
    pub(crate) leaving: Signal,
    /// What still runs is cut off.
    pub(crate) cut: Signal,
}

impl Tally {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            running: AtomicUsize::new(0),
            idle: Notify::new(),
            finished: AtomicU64::new(0),
            handed_back: AtomicU64::new(0),
            leaving: Signal::default(),
            cut: Signal::default(),
        })
    }
    /// Counts until it is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> Running {
        self.running.fetch_add(1, Ordering::AcqRel);
        Running(Arc::clone(self))
    }
    pub(crate) fn running(&self) -> usize {
        self.running.load(Ordering::Acquire)
    }
    /// Waits until nothing runs.
    pub(crate) async fn idle(&self) {
        loop {
            let notified = self.idle.notified();
            if self.running() == 0 {
                return;
            }
            notified.await;
        }
    }
}

/// One message in hand.
#[derive(Debug)]
pub(crate) struct Running(Arc<Tally>);

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

/// Happens once; whoever waits, now or later, goes on.
#[derive(Debug)]
pub(crate) struct Signal(Semaphore);

impl Default for Signal {
    fn default() -> Self {
        Self(Semaphore::new(0))
    }
}

impl Signal {
    pub(crate) fn set(&self) {
        self.0.close();
    }
    pub(crate) async fn wait(&self) {
        drop(self.0.acquire().await); // there are no permits: it ends when the semaphore is closed
    }
}
