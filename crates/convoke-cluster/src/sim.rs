//! A whole cluster in one thread, under a clock that only moves when nothing else can: nodes as they are, between a
//! network, disks and wall clocks that fail. One seed is one run, and the same run each time.

mod clients;
mod dice;
mod disk;
mod host;
mod nemesis;
pub(crate) mod planted;
mod registers;
mod tests;
mod trace;
mod wires;
mod world;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use convoke_testing::history::{Limits, Lock, Register, Terms, check};
use tokio::time::{Instant, sleep, timeout};

use self::{
    clients::{Books, Client},
    dice::Dice,
    host::{Common, Seat, Skew, address},
    nemesis::{Made, Nemesis},
    planted::Planted,
    registers::Witness,
    trace::Event,
    world::World,
};
use crate::{Consistency, Member, NodeId, engine::runtime};

/// Clients of registers.
const CLIENTS: u64 = 4;
/// Clients of locks.
const LOCKERS: u64 = 2;
/// How long things break.
const RAGE: Duration = Duration::from_secs(6);
/// How long a healed cluster may take until every node answers.
const RECOVERY: Duration = Duration::from_secs(10);

/// What is run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    seed: u64,
    nodes: u64,
    planted: Planted,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Report {
    hash: u64,
    events: Vec<Event>,
    /// Everything that must not be.
    violations: Vec<String>,
    /// Operations that were answered.
    answered: usize,
    unknown: usize,
    made: Made,
    terms: usize,
    lost_writes: u64,
}

/// Runs it on this thread.
fn run(plan: Plan) -> Report {
    runtime::seeded::seed(Some(plan.seed));
    plan.planted.plant();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let report = runtime.expect("a runtime without threads").block_on(simulate(plan));
    Planted::Nothing.plant();
    runtime::seeded::seed(None);
    report
}

async fn simulate(plan: Plan) -> Report {
    let mut dice = Dice::of(plan.seed, "plan");
    let founders = (1..=plan.nodes).map(|id| (id, Member::new(format!("node-{id}"), address(id)))).collect();
    let common = Arc::new(Common {
        seed: plan.seed,
        planted: plan.planted,
        world: Arc::new(World::new(plan.seed)),
        witness: Arc::new(Witness::default()),
        terms: Arc::new(Terms::new()),
        start: Instant::now(),
        founders,
    });
    // With wrong clocks a lease may end early; without them it must not.
    let skewed = dice.falls(50);
    let seats = common.founders.keys().map(|&id| {
        let skew = if skewed {
            Skew { ahead_ms: dice.around(250), faster: dice.around(20) }
        } else {
            Skew::default()
        };
        (id, Seat::new(&common, id, skew))
    });
    let seats: BTreeMap<NodeId, Seat> = seats.collect();
    let allowed = if skewed { clients::TTL } else { Duration::from_millis(20) };
    let books = Arc::new(Books::new(Arc::clone(&common.world), allowed));
    let mut nemesis = Nemesis {
        common: Arc::clone(&common),
        books: Arc::clone(&books),
        seats,
        dice: Dice::of(plan.seed, "nemesis"),
        made: Made::new(),
    };
    nemesis.start_all();
    // The first leader, before anything breaks.
    sleep(Duration::from_secs(1)).await;
    let until = Instant::now() + RAGE;
    let mut clients = tokio::task::JoinSet::new();
    for number in 1..=CLIENTS {
        clients.spawn(Client::new(number, plan.seed, Arc::clone(&books)).use_registers(until));
    }
    for number in CLIENTS + 1..=CLIENTS + LOCKERS {
        clients.spawn(Client::new(number, plan.seed, Arc::clone(&books)).use_locks(until));
    }
    nemesis.rage(until).await;
    while clients.join_next().await.is_some() {}
    nemesis.mend();
    let mut violations = recover(plan.seed, &books).await;
    violations.extend(judge(&common, &books));
    let (hash, events) = common.world.trace();
    let operations = books.registers.operations();
    let answered = operations.iter().filter(|operation| operation.returned.is_some()).count();
    Report {
        hash,
        events,
        violations,
        answered,
        unknown: operations.len() - answered,
        terms: common.terms.changes(),
        lost_writes: nemesis.seats.values().map(|seat| seat.disk.lost()).sum(),
        made: nemesis.made,
    }
}

/// The pause before a node is asked again.
const AGAIN: Duration = Duration::from_millis(20);

/// Every node answers again, for every register.
async fn recover(seed: u64, books: &Arc<Books>) -> Vec<String> {
    let hosts: Vec<_> = books.hosts().values().cloned().collect();
    let mut client = Client::new(1000, seed, Arc::clone(books));
    let all = async {
        for host in &hosts {
            for key in clients::keys() {
                while !client.read(host, key, Consistency::Linearizable, Duration::from_secs(1)).await {
                    sleep(AGAIN).await; // a node that stopped answers so at once
                }
            }
        }
    };
    match timeout(RECOVERY, all).await {
        Ok(()) => Vec::new(),
        Err(_) => vec![format!("not every node answered within {RECOVERY:?} after everything was mended")],
    }
}

/// What the histories say.
fn judge(common: &Common, books: &Books) -> Vec<String> {
    let mut violations = common.witness.complaints();
    let registers = check(&Register, &books.registers.operations(), Limits::default());
    let locks = check(&Lock, &books.lock_history(), Limits::default());
    let verdicts = [registers, locks].into_iter().filter(|verdict| !verdict.is_linearizable());
    violations.extend(verdicts.map(|verdict| verdict.to_string()));
    violations.extend(common.terms.check().err().map(|overlap| format!("two at a time: {overlap}")));
    violations
}
