//! What clients asked and were told, and whether one order explains it.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use convoke_testing::history::{
    Limits, Lock, LockAnswer, LockCall, Operation, Pending, Recorder, Register, RegisterAnswer, RegisterCall,
    check,
};

/// How much earlier than its time a lease may end: the log counts whole milliseconds.
const LEASE_SLACK: Duration = Duration::from_millis(20);

#[derive(Default)]
pub(crate) struct Books {
    registers: Recorder<RegisterCall, RegisterAnswer>,
    locks: Recorder<LockCall, LockAnswer>,
    /// Moments of the history of the locks, each with a time that was later.
    moments: Mutex<Vec<(u64, Instant)>>,
    /// Which lock was held under which fence, and until when it was not over.
    leases: Mutex<BTreeMap<(String, u64), Instant>>,
    pub(crate) counts: Counts,
}

/// What came of all that was asked.
#[derive(Default)]
pub(crate) struct Counts {
    answered: AtomicU64,
    refused: AtomicU64,
    unknown: AtomicU64,
}

/// What came of one question.
pub(crate) enum Came<A> {
    Answer(A),
    /// It was not done.
    Refused,
    Unknown,
}

impl Counts {
    pub(crate) fn answered(&self) -> u64 {
        self.answered.load(Relaxed)
    }

    pub(crate) fn add(&self, other: &Self) {
        for (to, from) in [
            (&self.answered, &other.answered),
            (&self.refused, &other.refused),
            (&self.unknown, &other.unknown),
        ] {
            to.fetch_add(from.load(Relaxed), Relaxed);
        }
    }

    /// Writes down what came of it.
    fn settle<C, A>(&self, pending: Pending<'_, C, A>, came: Came<A>) {
        let count = match came {
            Came::Answer(answer) => {
                pending.returned(answer);
                &self.answered
            }
            Came::Refused => {
                pending.refused();
                &self.refused
            }
            Came::Unknown => {
                drop(pending);
                &self.unknown
            }
        };
        count.fetch_add(1, Relaxed);
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [answered, refused, unknown] =
            [&self.answered, &self.refused, &self.unknown].map(|count| count.load(Relaxed));
        write!(f, "{answered} operations answered, {refused} refused, {unknown} unknown")
    }
}

impl Books {
    /// Asks for something of a register, and writes down what comes of it.
    pub(crate) async fn register<T>(
        &self,
        client: u64,
        key: &str,
        call: RegisterCall,
        ask: impl Future<Output = (Came<RegisterAnswer>, T)>,
    ) -> T {
        let pending = self.registers.call(client, key, call);
        let (came, told) = ask.await;
        self.counts.settle(pending, came);
        told
    }

    /// The same of a lock.
    pub(crate) async fn lock<T>(
        &self,
        client: u64,
        key: &str,
        call: LockCall,
        ask: impl Future<Output = (Came<LockAnswer>, T)>,
    ) -> T {
        let moment = self.locks.moment();
        lock(&self.moments).push((moment, Instant::now()));
        let pending = self.locks.call(client, key, call);
        let (came, told) = ask.await;
        self.counts.settle(pending, came);
        told
    }

    /// A lock was granted under this fence, and its lease cannot be over before then.
    pub(crate) fn leased(&self, key: &str, fence: u64, over: Instant) {
        lock(&self.leases).insert((key.to_owned(), fence), over - LEASE_SLACK);
    }

    /// From now on whoever holds it may give it back, unasked.
    pub(crate) fn may_be_released(&self, client: u64, key: &str, fence: u64) {
        self.locks.may(client, key, LockCall::Release(fence));
    }

    /// What was asked of locks, with the ends of leases that nobody asks for: each from the last moment on that was
    /// certainly before it.
    fn lock_history(&self) -> Vec<Operation<LockCall, LockAnswer>> {
        let mut history = self.locks.operations();
        let moments = lock(&self.moments);
        for ((key, fence), over) in &*lock(&self.leases) {
            let before = moments.iter().rev().find(|(_, at)| at <= over);
            let called = before.expect("it was acquired at one of them").0;
            let call = LockCall::Expire(*fence);
            history.push(Operation { client: 0, key: key.clone(), call, called, returned: None });
        }
        history
    }

    /// One order explains everything.
    #[track_caller]
    pub(crate) fn check(&self) {
        check(&Register, &self.registers.operations(), Limits::default()).assert();
        check(&Lock, &self.lock_history(), Limits::default()).assert();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
