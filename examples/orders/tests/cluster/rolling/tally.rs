//! What callers saw.
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// How often a request that did not run is sent again before it counts as failed.
const REPEATS_MAX: u32 = 40;
const PAUSE: Duration = Duration::from_millis(50);

/// Over which way a request went.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Way {
    Bus,
    Web,
}

/// How one attempt ended.
pub(crate) enum Ended<T> {
    Well(T),
    /// It certainly did not run, so it may be sent again.
    NotRun(String),
    Failed(String),
}

#[derive(Default)]
pub(crate) struct Tally {
    counts: Mutex<Counts>,
    stop: AtomicBool,
}

#[derive(Default)]
struct Counts {
    done: [usize; 2],
    repeats: BTreeMap<String, usize>,
    failures: Vec<String>,
    placed: BTreeSet<String>,
}

impl Tally {
    /// Sends a request until it ran, and again only while it certainly did not. `None`: it failed.
    pub(crate) async fn until_run<T, F: Future<Output = Ended<T>>>(
        &self,
        way: Way,
        what: &str,
        attempt: impl Fn() -> F,
    ) -> Option<T> {
        let mut why = String::new();
        for _ in 0..REPEATS_MAX {
            match attempt().await {
                Ended::Well(value) => {
                    self.counts().done[way as usize] += 1;
                    return Some(value);
                }
                Ended::Failed(why) => {
                    self.counts().failures.push(format!("{way:?} {what}: {why}"));
                    return None;
                }
                Ended::NotRun(reason) => {
                    *self.counts().repeats.entry(format!("{way:?} {what}: {reason}")).or_default() += 1;
                    why = reason;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        self.counts().failures.push(format!("{way:?} {what} did not run {REPEATS_MAX} times: {why}"));
        None
    }

    pub(crate) fn placed_one(&self, order: String) {
        self.counts().placed.insert(order);
    }

    pub(crate) fn placed(&self) -> BTreeSet<String> {
        self.counts().placed.clone()
    }

    /// Requests that were answered, over each way.
    pub(crate) fn done(&self) -> [usize; 2] {
        self.counts().done
    }

    pub(crate) fn failures(&self) -> Vec<String> {
        self.counts().failures.clone()
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { done: [bus, web], repeats, failures, placed } = &*self.counts();
        write!(f, "{bus} requests over the bus and {web} over HTTP, {} failed; ", failures.len())?;
        write!(f, "{} orders; sent again because they did not run: {repeats:?}", placed.len())
    }
}
