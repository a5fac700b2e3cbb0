use std::{
    mem,
    pin::pin,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use crate::Failed;

/// How much one handler takes at once: so many runs, so many that wait for one, and nothing beyond.
///
/// Plain counters, because a semaphore's queue costs more than a short handler; the queue is there for those that
/// have to wait. Both counts share a word, so that a call which finds a free run enters with one instruction.
pub(crate) struct Gate {
    runs_max: u64,
    admitted_max: u64,
    /// Requests that were let in, and runs: [`ADMITTED`] and [`RUNNING`] are one of each.
    inside: AtomicU64,
    /// Who waits for a run, and for the last request to leave.
    waiting: AtomicUsize,
    freed: Notify,
    empty: Notify,
}

/// One request that was let in, in the lower half of the word.
const ADMITTED: u64 = 1;
/// One run, in the upper half.
const RUNNING: u64 = 1 << 32;
/// The most that one half counts up to.
const COUNT_MAX: usize = (u32::MAX >> 1) as usize;

fn admitted(inside: u64) -> u64 {
    inside & (RUNNING - 1)
}

fn running(inside: u64) -> u64 {
    inside >> 32
}

/// What was counted in; its drop counts it out.
pub(crate) struct Entry<'a> {
    gate: &'a Gate,
    counted: u64,
}

impl Entry<'_> {
    fn and(mut self, mut other: Self) -> Self {
        self.counted += mem::take(&mut other.counted);
        self
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        let left = self.gate.inside.fetch_sub(self.counted, Ordering::SeqCst) - self.counted;
        // Who waits counts itself before it looks: either it sees that we left, or we see it.
        if self.gate.waiting.load(Ordering::SeqCst) > 0 {
            if self.counted >= RUNNING {
                self.gate.freed.notify_one();
            }
            if admitted(left) == 0 {
                self.gate.empty.notify_waiters();
            }
        }
    }
}

/// One that waits; its drop is its end.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn on(gate: &'a Gate) -> Self {
        gate.waiting.fetch_add(1, Ordering::SeqCst);
        Self(&gate.waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Gate {
    pub(crate) fn new(concurrency: usize, queue_max: usize) -> Self {
        let runs_max = concurrency.clamp(1, COUNT_MAX);
        Self {
            runs_max: runs_max as u64,
            admitted_max: runs_max.saturating_add(queue_max).min(COUNT_MAX) as u64,
            inside: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            freed: Notify::new(),
            empty: Notify::new(),
        }
    }

    /// Lets a request in and begins its run, when one is free.
    pub(crate) fn try_enter(&self) -> Option<Entry<'_>> {
        self.count_in(ADMITTED + RUNNING, |inside| {
            admitted(inside) < self.admitted_max && running(inside) < self.runs_max
        })
    }

    /// The same, and waits for a run in the queue.
    pub(crate) async fn enter(&self, deadline: Instant) -> Result<Entry<'_>, Failed> {
        let admitted = self.admit()?;
        let run = self.run(deadline).await?;
        Ok(admitted.and(run))
    }

    /// Lets a request in, or answers `Overloaded` at once.
    pub(crate) fn admit(&self) -> Result<Entry<'_>, Failed> {
        self.count_in(ADMITTED, |inside| admitted(inside) < self.admitted_max).ok_or(Failed::Overloaded)
    }

    /// A run, when one is free.
    pub(crate) fn try_run(&self) -> Option<Entry<'_>> {
        self.count_in(RUNNING, |inside| running(inside) < self.runs_max)
    }

    /// Adds without a loop, which several cores would go through again and again. What came one too many is taken
    /// back; who was sent away meanwhile and waits is woken by that.
    fn count_in(&self, counted: u64, free: impl Fn(u64) -> bool) -> Option<Entry<'_>> {
        if !free(self.inside.load(Ordering::SeqCst)) {
            return None; // as a rule nothing is taken back: its end would wake a waiter for nothing
        }
        let before = self.inside.fetch_add(counted, Ordering::SeqCst);
        let entry = Entry { gate: self, counted };
        free(before).then_some(entry)
    }

    /// Waits for a run. Nothing ran when the deadline comes first.
    pub(crate) async fn run(&self, deadline: Instant) -> Result<Entry<'_>, Failed> {
        let _waiting = Waiting::on(self);
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
        let _waiting = Waiting::on(self);
        loop {
            let mut empty = pin!(self.empty.notified());
            empty.as_mut().enable(); // before the look, so that no end is missed
            if admitted(self.inside.load(Ordering::SeqCst)) == 0 {
                return;
            }
            empty.await;
        }
    }

    #[cfg(test)]
    fn counts(&self) -> (u64, u64) {
        let inside = self.inside.load(Ordering::Relaxed);
        (admitted(inside), running(inside))
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
        assert!(gate.try_enter().is_none(), "its run is taken");
        assert_eq!(gate.counts(), (1, 1));
        drop(first);
        assert_eq!(gate.counts(), (0, 1));
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
        assert_eq!(gate.counts(), (0, 0));
        assert!((1..=3).contains(&most.load(Ordering::SeqCst)));
    }
}
