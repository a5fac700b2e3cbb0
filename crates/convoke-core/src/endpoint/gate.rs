use std::{
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering},
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use crate::Failed;

/// How much one handler takes at once: so many runs, so many that wait for one, and nothing beyond.
///
/// Plain counters, because a semaphore's queue costs more than a short handler; the queue is there for those that
/// have to wait.
pub(crate) struct Gate {
    runs_max: usize,
    running: AtomicUsize,
    waiting: AtomicUsize,
    freed: Notify,
    admitted_max: usize,
    admitted: AtomicUsize,
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

/// A run that was begun.
pub(crate) struct Run<'a>(&'a Gate);

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
        // A waiter counts itself before it looks for a free run: either it sees this one, or we see it.
        if self.0.waiting.load(Ordering::SeqCst) > 0 {
            self.0.freed.notify_one();
        }
    }
}

/// One that waits for a run; its drop is its end.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Gate {
    pub(crate) fn new(concurrency: usize, queue_max: usize) -> Self {
        let runs_max = concurrency.max(1);
        Self {
            runs_max,
            running: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            freed: Notify::new(),
            admitted_max: runs_max.saturating_add(queue_max),
            admitted: AtomicUsize::new(0),
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
    pub(crate) fn try_run(&self) -> Option<Run<'_>> {
        // Never above the bound, not even for a moment: its end would wake a waiter for nothing.
        let free = |running: usize| (running < self.runs_max).then_some(running + 1);
        self.running.fetch_update(Ordering::SeqCst, Ordering::SeqCst, free).ok().map(|_| Run(self))
    }

    /// Waits for a run. Nothing ran when the deadline comes first.
    pub(crate) async fn run(&self, deadline: Instant) -> Result<Run<'_>, Failed> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let _waiting = Waiting(&self.waiting);
        loop {
            let mut freed = pin!(self.freed.notified());
            freed.as_mut().enable(); // before the look, so that no end is missed
            if let Some(run) = self.try_run() {
                return Ok(run);
            }
            timeout_at(deadline, freed).await.map_err(|_| Failed::Overloaded)?;
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
    use std::{sync::Arc, time::Duration};

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

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn so_many_run_at_once_and_every_waiter_gets_its_turn() {
        let gate = Arc::new(Gate::new(3, usize::MAX));
        let most = Arc::new(AtomicUsize::new(0));
        let inside = Arc::new(AtomicUsize::new(0));
        let tasks = (0..500).map(|_| {
            let (gate, most, inside) = (gate.clone(), most.clone(), inside.clone());
            tokio::spawn(async move {
                let _run = gate.run(Instant::now() + Duration::from_secs(30)).await.expect("its turn comes");
                most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                inside.fetch_sub(1, Ordering::SeqCst);
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.expect("no panic");
        }
        assert_eq!(gate.running.load(Ordering::SeqCst), 0);
        assert!((1..=3).contains(&most.load(Ordering::SeqCst)));
    }
}
