//! A whole cluster in one thread, under a clock that only moves when nothing else can: nodes as they are, between a
//! network, disks and wall clocks that fail. One seed is one run, and the same run each time.

mod clients;
mod dice;
mod disk;
mod host;
mod machines;
mod nemesis;
mod operator;
pub(crate) mod planted;
mod recovery;
mod registers;
mod tests;
mod trace;
mod wires;
mod world;

use std::{sync::Arc, time::Duration};

use convoke_testing::history::{Limits, Lock, Register, Terms, check};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use self::{
    clients::{Books, Client},
    dice::Dice,
    host::{Common, Skew, address},
    machines::Machines,
    nemesis::{Made, Nemesis},
    operator::{Ledger, Operator},
    planted::Planted,
    registers::Witness,
    trace::Event,
    world::World,
};
use crate::{Member, engine::runtime};

/// Clients of registers.
const CLIENTS: u64 = 4;
/// Clients of locks.
const LOCKERS: u64 = 2;
/// How long things break.
const RAGE: Duration = Duration::from_secs(6);
/// Entries between two snapshots.
const SNAPSHOT_EVERY: u64 = 120;
/// The same where nodes join: so few that they cannot have all from the log.
const SNAPSHOT_OFTEN: u64 = 40;

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
    /// Changes of the members.
    changed: Made,
    /// Snapshots that nodes got from others in their first life.
    received: u64,
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
    // With wrong clocks a lease may end early; without them it must not.
    let skewed = dice.falls(50);
    let changes = dice.falls(50) || plan.planted == Planted::MembersForgotten;
    let common = Arc::new(Common {
        seed: plan.seed,
        planted: plan.planted,
        world: Arc::new(World::new(plan.seed)),
        witness: Arc::new(Witness::default()),
        terms: Arc::new(Terms::new()),
        start: Instant::now(),
        founders,
        snapshot_every: if changes { SNAPSHOT_OFTEN } else { SNAPSHOT_EVERY },
    });
    let allowed = if skewed { clients::TTL } else { Duration::from_millis(20) };
    let books = Arc::new(Books::new(Arc::clone(&common.world), allowed));
    let machines = Arc::new(Machines::new(Arc::clone(&common), Arc::clone(&books)));
    for (id, founder) in &common.founders {
        machines.add(*id, founder.name.clone(), Skew::drawn(&mut dice, skewed));
    }
    let mut nemesis = Nemesis {
        common: Arc::clone(&common),
        machines: Arc::clone(&machines),
        dice: Dice::of(plan.seed, "nemesis"),
        made: Made::new(),
    };
    let mut operator = Operator {
        books: Arc::clone(&books),
        machines: Arc::clone(&machines),
        dice: Dice::of(plan.seed, "operator"),
        ledger: Ledger::new(&common.founders),
        skewed,
        founders: plan.nodes,
        made: Made::new(),
    };
    machines.start_all();
    // The first leader, before anything breaks.
    sleep(Duration::from_secs(1)).await;
    let until = Instant::now() + RAGE;
    let mut clients = start_clients(plan.seed, &books, until);
    let operate = async {
        if changes {
            operator.operate(until).await;
        }
    };
    tokio::join!(nemesis.rage(until), operate);
    while clients.join_next().await.is_some() {}
    nemesis.mend();
    let mut violations = recovery::recover(plan.seed, &books, &operator.ledger).await;
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
        lost_writes: machines.lost_writes(),
        made: nemesis.made,
        changed: operator.made,
        received: common.witness.received(),
    }
}

/// Who uses the cluster, for so long.
fn start_clients(seed: u64, books: &Arc<Books>, until: Instant) -> JoinSet<()> {
    let mut clients = JoinSet::new();
    for number in 1..=CLIENTS {
        clients.spawn(Client::new(number, seed, Arc::clone(books)).use_registers(until));
    }
    for number in CLIENTS + 1..=CLIENTS + LOCKERS {
        clients.spawn(Client::new(number, seed, Arc::clone(books)).use_locks(until));
    }
    clients
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
