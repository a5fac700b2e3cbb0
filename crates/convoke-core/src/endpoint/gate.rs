use std::{
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering},
};

use tokio::{
    sync::{Notify, Semaphore, SemaphorePermit},
    time::{Instant, timeout_at},
};

use crate::Failed;

/// How much one handler takes at once: so many runs, so many that wait for one, and nothing beyond.
pub(crate) struct Gate {
    runs: Semaphore,
    admitted: AtomicUsize,
    admitted_max: usize,
    empty: Notify,
}

/// A request that was let in.
pub(crate) struct Admitted<'a>(&'a Gate);

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        if self.0.admitted.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.empty.notify_waiters();
        }
    }
}

impl Gate {
    pub(crate) fn new(concurrency: usize, queue_max: usize) -> Self {
        let runs = concurrency.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            runs: Semaphore::new(runs),
            admitted: AtomicUsize::new(0),
            admitted_max: runs.saturating_add(queue_max),
            empty: Notify::new(),
        }
    }

    /// Lets a request in, or answers `Overloaded` at once.
    pub(crate) fn admit(&self) -> Result<Admitted<'_>, Failed> {
        let before = self.admitted.fetch_add(1, Ordering::Acquire);
        let admitted = Admitted(self); // its drop takes the count back
        if before >= self.admitted_max { Err(Failed::Overloaded) } else { Ok(admitted) }
    }

    /// A run, when one is free.
    pub(crate) fn try_run(&self) -> Option<SemaphorePermit<'_>> {
        self.runs.try_acquire().ok()
    }

    /// Waits for a run. Nothing ran when the deadline comes first.
    pub(crate) async fn run(&self, deadline: Instant) -> Result<SemaphorePermit<'_>, Failed> {
        if let Ok(permit) = self.runs.try_acquire() {
            return Ok(permit);
        }
        match timeout_at(deadline, self.runs.acquire()).await {
            Ok(permit) => Ok(permit.expect("the semaphore is never closed")),
            Err(_) => Err(Failed::Overloaded),
        }
    }

    /// Returns when nothing is inside.
    pub(crate) async fn empty(&self) {
        loop {
            let mut empty = pin!(self.empty.notified());
            empty.as_mut().enable(); // before the look, so that no end is missed
            if self.admitted.load(Ordering::Acquire) == 0 {
                return;
            }
            empty.await;
        }
    }

    #[cfg(test)]
    fn admitted(&self) -> usize {
        self.admitted.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_beyond_the_queue_is_refused_at_once() {
        let gate = Gate::new(1, 1);
        let first = gate.admit().expect("a run is free");
        let _running = gate.run(Instant::now()).await.expect("the first");
        let second = gate.admit().expect("the queue is free");
        assert!(matches!(gate.admit(), Err(Failed::Overloaded)));
        assert!(matches!(gate.run(Instant::now()).await, Err(Failed::Overloaded)), "its deadline came");
        drop(second);
        assert_eq!(gate.admitted(), 1);
        drop(first);
        assert_eq!(gate.admitted(), 0);
    }
}
