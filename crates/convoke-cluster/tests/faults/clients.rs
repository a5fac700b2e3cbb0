//! Clients that ask any node for anything, and write down what they are told.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use convoke_testing::eventually_within;
use convoke_testing::history::{LockAnswer, LockCall, RegisterAnswer, RegisterCall};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    books::{Books, Came},
    fleet::{Fleet, PATIENCE},
    line::Line,
    wire::{Ask, Said},
};

const REGISTERS: u64 = 3;
const LOCKS: u64 = 2;
const OF_REGISTERS: u64 = 5;
const OF_LOCKS: u64 = 3;
/// The lease of a lock: some nodes stand still for longer.
const TTL: Duration = Duration::from_secs(1);

/// Clients at work.
pub(crate) struct Clients {
    pub(crate) books: Arc<Books>,
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
    /// The keys are theirs alone.
    name: String,
}

impl Clients {
    pub(crate) fn start(fleet: &Fleet, name: &str) -> Self {
        let (books, stop, mut tasks) =
            (Arc::new(Books::default()), Arc::new(AtomicBool::new(false)), JoinSet::new());
        for number in 1..=OF_REGISTERS + OF_LOCKS {
            let client = Client::new(fleet, number, name, &books);
            let stop = Arc::clone(&stop);
            tasks.spawn(async move {
                if number <= OF_REGISTERS {
                    client.use_registers(&stop).await
                } else {
                    client.use_locks(&stop).await
                }
            });
        }
        Self { books, stop, tasks, name: name.to_owned() }
    }

    /// Waits until so many more questions were answered.
    pub(crate) async fn are_served(&self, answers: u64) {
        let counts = &self.books.counts;
        let enough = counts.answered() + answers;
        let reason = "clients are served";
        eventually_within(PATIENCE, reason, async || counts.answered() >= enough).await;
    }

    /// Ends them, reads once more what each node has, and looks for an order of everything.
    pub(crate) async fn stop_and_check(mut self, fleet: &Fleet) -> Arc<Books> {
        self.stop.store(true, Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("no client panics");
        }
        let mut last = Client::new(fleet, 0, &self.name, &self.books);
        for node in 0..last.lines.len() {
            for key in 0..REGISTERS {
                let key = last.register(key);
                let read = async {
                    while !last.read(node, &key, false, Duration::from_secs(5)).await {
                        sleep(Duration::from_millis(20)).await;
                    }
                };
                timeout(PATIENCE, read).await.expect("each node reads");
            }
        }
        self.books.check();
        self.books
    }
}

/// One client: it asks one thing after the other.
struct Client {
    number: u64,
    books: Arc<Books>,
    name: String,
    lines: Vec<Line>,
    dice: StdRng,
    /// What it read last of each register: a value and its version.
    known: BTreeMap<String, Option<(u64, u64)>>,
    /// Values it wrote.
    written: u64,
}

impl Client {
    fn new(fleet: &Fleet, number: u64, name: &str, books: &Arc<Books>) -> Self {
        let lines = fleet.ids().into_iter().map(|id| fleet.line(id)).collect();
        let (books, dice) = (Arc::clone(books), StdRng::from_rng(&mut rand::rng()));
        Self { number, books, name: name.to_owned(), lines, dice, known: BTreeMap::new(), written: 0 }
    }

    fn register(&self, key: u64) -> String {
        format!("{}-register-{key}", self.name)
    }

    fn millis(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.dice.random_range(range))
    }

    async fn use_registers(mut self, stop: &AtomicBool) {
        while !stop.load(Relaxed) {
            sleep(self.millis(2..30)).await;
            let node = self.dice.random_range(0..self.lines.len());
            let key = self.dice.random_range(0..REGISTERS);
            let key = self.register(key);
            // Some outlast a change of leaders, and are made by the next one; some do not.
            let within = self.millis(200..4000);
            match self.dice.random_range(0..100) {
                0..30 => drop(self.read(node, &key, false, within).await),
                30..55 => drop(self.read(node, &key, true, within).await),
                55..75 => self.write(node, &key, within).await,
                _ => {
                    self.read(node, &key, true, within).await;
                    self.swap(node, &key, within).await;
                }
            }
        }
    }

    /// A value nobody else writes.
    fn value(&mut self) -> u64 {
        self.written += 1;
        self.number * 1_000_000 + self.written
    }

    async fn read(&mut self, node: usize, key: &str, lease: bool, within: Duration) -> bool {
        let line = &mut self.lines[node];
        let ask = async {
            match line.ask(Ask::Read { key: key.to_owned(), lease }, within).await {
                Said::Value { value, version } => {
                    (Came::Answer(RegisterAnswer::Value(Some(value))), Some(Some((value, version))))
                }
                Said::Nothing => (Came::Answer(RegisterAnswer::Value(None)), Some(None)),
                // A read that was not answered did nothing.
                _ => (Came::Refused, None),
            }
        };
        let found = self.books.register(self.number, key, RegisterCall::Read, ask).await;
        if let Some(found) = found {
            self.known.insert(key.to_owned(), found);
        }
        found.is_some()
    }

    async fn write(&mut self, node: usize, key: &str, within: Duration) {
        let value = self.value();
        let call = RegisterCall::Write(value);
        self.change(node, key, call, Ask::Write { key: key.to_owned(), value }, within).await;
    }

    async fn swap(&mut self, node: usize, key: &str, within: Duration) {
        let to = self.value();
        let known = self.known.get(key).copied().flatten();
        let call = RegisterCall::Swap { from: known.map(|(value, _)| value), to };
        let ask = Ask::Swap { key: key.to_owned(), version: known.map(|(_, version)| version), to };
        self.change(node, key, call, ask, within).await;
    }

    async fn change(&mut self, node: usize, key: &str, call: RegisterCall, ask: Ask, within: Duration) {
        let line = &mut self.lines[node];
        let ask = async {
            let came = match line.ask(ask, within).await {
                Said::Done => Came::Answer(RegisterAnswer::Done),
                Said::Differs => Came::Answer(RegisterAnswer::Differs),
                said => unanswered(&said),
            };
            (came, ())
        };
        self.books.register(self.number, key, call, ask).await;
    }

    /// Takes a lock, keeps it for a while and gives it back.
    async fn use_locks(mut self, stop: &AtomicBool) {
        while !stop.load(Relaxed) {
            sleep(self.millis(2..60)).await;
            let node = self.dice.random_range(0..self.lines.len());
            let lock = format!("{}-lock-{}", self.name, self.dice.random_range(0..LOCKS));
            let sent = Instant::now();
            let Some(fence) = self.acquire(node, &lock).await else { continue };
            self.books.leased(&lock, fence, sent + TTL);
            sleep(self.millis(1..150)).await;
            let holds = self.holds(node, &lock, fence).await;
            sleep(self.millis(1..150)).await;
            if holds {
                self.release(node, &lock, fence, sent + TTL).await;
            } else {
                // Hanging up gives it back, if the node lives.
                self.books.may_be_released(self.number, &lock, fence);
                self.lines[node].hang_up();
            }
        }
    }

    async fn acquire(&mut self, node: usize, lock: &str) -> Option<u64> {
        let within = self.millis(200..1000);
        let ttl_ms = u64::try_from(TTL.as_millis()).expect("it is short");
        let line = &mut self.lines[node];
        let ask = async {
            match line.ask(Ask::Acquire { lock: lock.to_owned(), ttl_ms }, within).await {
                Said::Granted { fence } => (Came::Answer(LockAnswer::Granted(fence)), Some(fence)),
                Said::Busy => (Came::Answer(LockAnswer::Busy), None),
                said => (unanswered(&said), None),
            }
        };
        self.books.lock(self.number, lock, LockCall::Acquire, ask).await
    }

    /// What a node says of a lock that was acquired there, it says before anybody else can hold it.
    async fn holds(&mut self, node: usize, lock: &str, fence: u64) -> bool {
        let within = self.millis(100..2000);
        let line = &mut self.lines[node];
        let ask = async {
            match line.ask_and_stay(Ask::Holds { fence }, within).await {
                Said::Done => (Came::Answer(LockAnswer::Done), true),
                // It may be held for all that: who does not renew it in time is the first to give it up.
                _ => (Came::Refused, false),
            }
        };
        self.books.lock(self.number, lock, LockCall::Renew(fence), ask).await
    }

    async fn release(&mut self, node: usize, lock: &str, fence: u64, over: Instant) {
        let within = self.millis(200..1000);
        let line = &mut self.lines[node];
        let ask = async {
            let came = match line.ask(Ask::Release { fence }, within).await {
                // Within the first lease it was certainly there to be released.
                Said::Done if Instant::now() < over => Came::Answer(LockAnswer::Done),
                _ => Came::Unknown,
            };
            (came, ())
        };
        self.books.lock(self.number, lock, LockCall::Release(fence), ask).await;
    }
}

fn unanswered<A>(said: &Said) -> Came<A> {
    match said {
        Said::Refused(_) => Came::Refused,
        _ => Came::Unknown,
    }
}
