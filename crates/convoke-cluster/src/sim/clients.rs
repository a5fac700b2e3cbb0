//! Clients that ask any node for anything, and write down what they are told.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use convoke_core::Executed;
use convoke_testing::history::{
    LockAnswer, LockCall, Operation, Pending, Recorder, RegisterAnswer, RegisterCall,
};
use tokio::time::{Instant, sleep, sleep_until};
use uuid::Uuid;

use super::{
    dice::Dice,
    host::Host,
    registers::{self, Change},
    world::World,
};
use crate::{
    Consistency, Error, NodeId, coding,
    engine::types::Op,
    locks::table::{Answer, Command},
};

/// Registers that are written to.
const KEYS: usize = 3;
/// The lease of a lock.
pub(super) const TTL: Duration = Duration::from_millis(1500);

type Registered = Recorder<RegisterCall, RegisterAnswer>;
type Locked = Recorder<LockCall, LockAnswer>;

/// What clients share: whom they can ask, and what they were told.
pub(super) struct Books {
    pub(super) world: Arc<World>,
    /// By their machines.
    hosts: Mutex<BTreeMap<u64, Arc<Host>>>,
    pub(super) registers: Registered,
    pub(super) locks: Locked,
    /// By the fence of a lock: from when on its lease may be over.
    leases: Mutex<BTreeMap<(String, u64), u64>>,
    /// How much earlier than its time a lease may end, by wrong clocks.
    pub(super) skew: Duration,
}

impl Books {
    pub(super) fn new(world: Arc<World>, skew: Duration) -> Self {
        Self {
            world,
            hosts: Mutex::default(),
            registers: Recorder::new(),
            locks: Recorder::new(),
            leases: Mutex::default(),
            skew,
        }
    }

    pub(super) fn hosts(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Host>>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn any_host(&self, dice: &mut Dice) -> Option<Arc<Host>> {
        let hosts = self.hosts();
        let running: Vec<_> = hosts.values().filter(|host| host.cluster.node_id().is_some()).collect();
        let nth = dice.below(running.len().max(1));
        running.get(nth).copied().cloned()
    }

    /// The number of the node on this machine, while it runs and knows it.
    pub(super) fn id_of(&self, machine: u64) -> Option<NodeId> {
        self.hosts().get(&machine)?.cluster.node_id()
    }

    /// What was asked of locks, with the ends of leases that nobody asks for.
    pub(super) fn lock_history(&self) -> Vec<Operation<LockCall, LockAnswer>> {
        let mut history = self.locks.operations();
        let leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
        for ((key, fence), from) in &*leases {
            let call = LockCall::Expire(*fence);
            history.push(Operation { client: 0, key: key.clone(), call, called: *from, returned: None });
        }
        history
    }
}

/// One client: it asks one thing after the other.
pub(super) struct Client {
    pub(super) number: u64,
    pub(super) dice: Dice,
    pub(super) books: Arc<Books>,
    /// What it read last of each register.
    read: BTreeMap<u8, Option<u64>>,
    /// Values it wrote.
    written: u64,
}

impl Client {
    pub(super) fn new(number: u64, seed: u64, books: Arc<Books>) -> Self {
        let dice = Dice::of(seed, &format!("client {number}"));
        Self { number, dice, books, read: BTreeMap::new(), written: 0 }
    }

    /// Reads and changes registers until the time is over.
    pub(super) async fn use_registers(mut self, until: Instant) {
        while Instant::now() < until {
            sleep(self.dice.millis(5..60)).await;
            let Some(host) = self.books.any_host(&mut self.dice) else { continue };
            let key = u8::try_from(self.dice.below(KEYS)).expect("few keys");
            let within = self.dice.millis(100..900);
            match self.dice.below(100) {
                0..35 => drop(self.read(&host, key, Consistency::Linearizable, within).await),
                35..50 => drop(self.read(&host, key, Consistency::Lease, within).await),
                50..75 => {
                    let change = Change::Write(self.value());
                    self.change(&host, key, change, within).await;
                }
                _ => {
                    let from = self.read.get(&key).copied().flatten();
                    let change = Change::Swap { from, to: self.value() };
                    self.change(&host, key, change, within).await;
                }
            }
        }
    }

    /// A value nobody else writes.
    fn value(&mut self) -> u64 {
        self.written += 1;
        self.number * 1_000_000 + self.written
    }

    pub(super) async fn read(
        &mut self,
        host: &Arc<Host>,
        key: u8,
        consistency: Consistency,
        within: Duration,
    ) -> bool {
        let books = Arc::clone(&self.books);
        let pending = books.registers.call(self.number, name(key), RegisterCall::Read);
        let deadline = Instant::now() + within;
        let read = async {
            host.node.barrier(consistency, deadline).await?;
            Ok::<_, Error>(host.cluster.read(|registers| registers.get(key)))
        };
        match alive(host, read).await {
            Some(Ok(value)) => {
                self.read.insert(key, value);
                self.answered(pending, RegisterAnswer::Value(value));
                true
            }
            // A read that was not answered did nothing.
            _ => {
                pending.refused();
                false
            }
        }
    }

    async fn change(&mut self, host: &Arc<Host>, key: u8, change: Change, within: Duration) {
        let books = Arc::clone(&self.books);
        let pending = books.registers.call(self.number, name(key), change.call());
        let op = Op::Machine(registers::command(key, change));
        match alive(host, host.node.propose(op, Instant::now() + within)).await {
            Some(Ok(applied)) => {
                let answer = registers::answer(&applied.answer).expect("the machine's own answer");
                self.answered(pending, answer);
            }
            Some(Err(error)) => settle(pending, &error),
            None => drop(pending),
        }
    }

    fn answered(&self, pending: Pending<'_, RegisterCall, RegisterAnswer>, answer: RegisterAnswer) {
        self.books.world.note("answer", [self.number, word(answer), 0]);
        pending.returned(answer);
    }

    /// Takes a lock, keeps it for a while and gives it back, until the time is over.
    pub(super) async fn use_locks(mut self, until: Instant) {
        while Instant::now() < until {
            sleep(self.dice.millis(20..150)).await;
            let lock = ["one", "two"][self.dice.below(2)];
            let owner = self.dice.name();
            let Some(fence) = self.acquire(lock, owner).await else { continue };
            sleep(self.dice.millis(1..500)).await;
            if self.dice.falls(50) {
                let command = Command::Renew { name: lock.into(), owner, fence };
                self.ask(lock, LockCall::Renew(fence), command).await;
                sleep(self.dice.millis(1..500)).await;
            }
            if self.dice.falls(80) {
                self.ask(lock, LockCall::Release(fence), Command::Release { name: lock.into(), owner }).await;
            }
        }
    }

    async fn acquire(&mut self, lock: &'static str, owner: Uuid) -> Option<u64> {
        let ttl_ms = u64::try_from(TTL.as_millis()).expect("it is short");
        let command = Command::Acquire { name: lock.into(), owner, ttl_ms, wait: false };
        let over_at = Instant::now() + TTL - self.books.skew;
        let LockAnswer::Granted(fence) = self.ask(lock, LockCall::Acquire, command).await? else {
            return None;
        };
        let books = Arc::clone(&self.books);
        tokio::spawn(async move {
            sleep_until(over_at).await;
            let moment = books.locks.moment();
            let mut leases = books.leases.lock().unwrap_or_else(PoisonError::into_inner);
            leases.insert((lock.to_owned(), fence), moment);
        });
        Some(fence)
    }

    async fn ask(&mut self, lock: &'static str, call: LockCall, command: Command) -> Option<LockAnswer> {
        let host = self.books.any_host(&mut self.dice)?;
        let within = self.dice.millis(100..700);
        let books = Arc::clone(&self.books);
        let pending = books.locks.call(self.number, lock, call);
        let op = Op::Lock(coding::encode(&command));
        match alive(&host, host.node.propose(op, Instant::now() + within)).await {
            Some(Ok(applied)) => {
                let answer = coding::decode(&applied.answer).expect("the table's own answer");
                let answer = lock_answer(call, answer);
                books.world.note("lock", [self.number, applied.index, 0]);
                pending.returned(answer);
                Some(answer)
            }
            Some(Err(error)) => {
                settle(pending, &error);
                None
            }
            None => None,
        }
    }
}

/// All registers.
pub(super) fn keys() -> std::ops::Range<u8> {
    0..u8::try_from(KEYS).expect("few keys")
}

fn name(key: u8) -> String {
    format!("register {key}")
}

fn word(answer: RegisterAnswer) -> u64 {
    match answer {
        RegisterAnswer::Value(Some(value)) => value,
        RegisterAnswer::Value(None) => 0,
        RegisterAnswer::Done => 1,
        RegisterAnswer::Differs => 2,
    }
}

fn lock_answer(call: LockCall, answer: Answer) -> LockAnswer {
    match answer {
        Answer::Granted { fence } if call == LockCall::Renew(fence) => LockAnswer::Done,
        Answer::Granted { fence } => LockAnswer::Granted(fence),
        Answer::Held | Answer::Queued { .. } => LockAnswer::Busy,
        Answer::Released { was_there: true } => LockAnswer::Done,
        Answer::Released { was_there: false } | Answer::Lost => LockAnswer::Lost,
        Answer::Refused(why) => unreachable!("nothing that is asked here is refused: {why:?}"),
    }
}

/// What a failure says about whether it was done is taken at its word.
fn settle<C, A>(pending: Pending<'_, C, A>, error: &Error) {
    match error.executed() {
        Executed::No => pending.refused(),
        Executed::Yes | Executed::Unknown | Executed::Running => drop(pending),
    }
}

/// The answer of a node, unless it dies first.
pub(super) async fn alive<T>(host: &Host, ask: impl Future<Output = T>) -> Option<T> {
    let mut ended = host.ended();
    tokio::select! {
        biased;
        _ = ended.wait_for(|ended| *ended) => None,
        answer = ask => Some(answer),
    }
}
