use std::{
    collections::{BTreeMap, BTreeSet},
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};

use convoke_testing::eventually_within;
use futures_util::FutureExt;
use tokio::{sync::Mutex, time::Instant};

use crate::{
    fault::Fault,
    fleet::{Fleet, NODES, Setup},
    history::{History, NodeView},
    load::Load,
    plan::Plan,
    planted::Planted,
    sink::Sink,
    view::Viewer,
};

/// How long the callers may take for their part of the orders.
const LOAD_WITHIN: Duration = Duration::from_secs(120);
/// The most violations that are printed.
const SHOWN: usize = 30;

/// One run at a time where tests share a process: each has three nodes and their servers.
static TURN: Mutex<()> = Mutex::const_new(());

/// Load, the faults in turn, rest, and the check.
pub(crate) async fn run(test: &'static str, with_redis: bool, kinds: &[Fault]) {
    let _turn = TURN.lock().await;
    let plan = Plan::from_env(kinds.len());
    let (sink, effects_url) = Sink::start().await;
    let disks = kinds.iter().any(|kind| kind.is_of_power());
    let setup = Setup { redis: with_redis, disks, ..Setup::default() };
    let Some(fleet) = Fleet::start(test, setup, &effects_url).await else { return };
    let fleet = Arc::new(fleet);
    let checked = async {
        let violations = violations(test, &fleet, &sink, &plan, kinds).await;
        let shown = violations.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("\n");
        assert!(
            violations.is_empty(),
            "{test}, seed {}: {} violations:\n{shown}",
            plan.seed,
            violations.len()
        );
    };
    let checked = AssertUnwindSafe(checked).catch_unwind().await;
    fleet.keep_logs(checked.is_err()).await;
    if let Err(panic) = checked {
        std::panic::resume_unwind(panic);
    }
}

/// The same with a fault inside of the nodes, on Redis; what was found.
pub(crate) async fn run_planted(
    test: &'static str,
    planted: Planted,
    fault: Fault,
    plan: Plan,
) -> Option<Vec<String>> {
    let _turn = TURN.lock().await;
    let (sink, effects_url) = Sink::start().await;
    let setup = Setup { redis: true, planted: Some(planted), ..Setup::default() };
    let fleet = Arc::new(Fleet::start(test, setup, &effects_url).await?);
    let violations = violations(test, &fleet, &sink, &plan, &[fault]).await;
    fleet.keep_logs(false).await;
    Some(violations)
}

/// Load, the faults in turn, rest, and what is wrong then.
async fn violations(
    test: &str,
    fleet: &Arc<Fleet>,
    sink: &Sink,
    plan: &Plan,
    kinds: &[Fault],
) -> Vec<String> {
    let begun = Instant::now();
    let mut history =
        History { accepted_min: plan.accepted_min, faults_min: plan.faults_min, ..History::default() };
    let load = Load::start(fleet, plan);
    let mut dice = Dice(plan.seed);
    println!("{test}: seed {}", plan.seed);
    // One kind: one after the other. Many: each in turn together with another one.
    for turn in 0..plan.faults_min {
        has_accepted(&load, (turn + 1) * plan.accepted_min / (plan.faults_min + 1)).await;
        let first = kinds[turn % kinds.len()];
        let mut together = vec![first];
        if kinds.len() > 2 {
            together.extend(Some(dice.pick(kinds)).filter(|second| *second != first));
        }
        break_together(fleet, &mut history, &load, plan, turn, &together).await;
    }
    has_accepted(&load, plan.accepted_min).await;
    history.record = load.finish().await;
    let rest = Instant::now();
    let late = drained(fleet, sink, &history, plan.drained_within).await;
    let drained = rest.elapsed();
    for (node, id) in NODES.into_iter().enumerate() {
        let view = Viewer::new(fleet.url(node)).view(&history.record).await;
        history.nodes.insert(id.to_owned(), view);
        let lines = fleet.lines(node).await;
        history.fenced += lines.iter().filter(|line| line.contains("a run was fenced")).count();
        history.panics.extend(lines.into_iter().filter(|line| line.contains("panicked")));
    }
    history.effects = sink.effects();
    print(test, &history, begun.elapsed(), drained);
    let mut violations = history.violations();
    violations.extend(late);
    violations
}

async fn break_together(
    fleet: &Fleet,
    history: &mut History,
    load: &Load,
    plan: &Plan,
    turn: usize,
    faults: &[Fault],
) {
    let retries = load.retries();
    let broken = faults.iter().zip(turn..).map(|(fault, turn)| fault.inject(fleet, turn, plan.long));
    let mended = futures_util::future::join_all(broken).await.into_iter().max();
    for fault in faults {
        *history.faults.entry(fault.name()).or_default() += 1;
    }
    let recovery = fleet.recovery(mended.expect("there is a fault")).await;
    history.recoveries.push(recovery);
    let names: Vec<_> = faults.iter().map(|fault| fault.name()).collect();
    println!("  {}: {} retries, ready after {recovery:?}", names.join(" + "), load.retries() - retries);
}

async fn has_accepted(load: &Load, count: usize) {
    let accepted = async || if load.accepted() >= count { Ok(()) } else { Err(load.accepted()) };
    eventually_within(LOAD_WITHIN, "orders are accepted", accepted).await;
}

/// Waits until each node has, and has handled, the event of each accepted order, and the outbox is empty. What is
/// missing is a violation.
async fn drained(fleet: &Fleet, sink: &Sink, history: &History, within: Duration) -> Option<String> {
    let deadline = Instant::now() + within;
    let orders: BTreeSet<_> = history.record.accepted.values().map(|a| a.order_id.as_str()).collect();
    loop {
        let mut missing = Vec::new();
        let effects = sink.effects();
        for (node, id) in NODES.into_iter().enumerate() {
            let events = Viewer::new(fleet.url(node)).events().await;
            let handled = |event: &String| effects.events.contains_key(&(id.to_owned(), event.clone()));
            let unhandled = events.iter().filter(|(event, _)| !handled(event)).count();
            let there: BTreeSet<_> = events.iter().map(|(_, order)| order.as_str()).collect();
            let absent = orders.difference(&there).count();
            let outbox = Viewer::new(fleet.url(node)).outbox().await;
            if absent > 0 || unhandled > 0 || outbox > 0 {
                missing.push(format!(
                    "{id}: {absent} events missing, {unhandled} not handled, {outbox} in the outbox"
                ));
            }
        }
        if missing.is_empty() {
            return None;
        }
        if Instant::now() >= deadline {
            return Some(format!("after {within:?} of rest: {}", missing.join("; ")));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn print(test: &str, history: &History, took: Duration, drained: Duration) {
    let History { record, faults, recoveries, nodes, effects, .. } = history;
    let repeats = |counts: &mut dyn Iterator<Item = &usize>| counts.map(|count| count - 1).sum::<usize>();
    let events: BTreeMap<_, _> =
        nodes.iter().map(|(node, NodeView { events, .. })| (node.as_str(), events.len())).collect();
    println!("{test}: {took:.1?}");
    println!(
        "  accepted {}, unknown {}, retries {:?}",
        record.accepted.len(),
        record.unknown.len(),
        record.retries
    );
    record.faults.iter().take(SHOWN).for_each(|answer| println!("  500: {answer}"));
    println!("  faults {faults:?}, runs fenced {}", history.fenced);
    println!("  events per node {events:?}");
    println!(
        "  effects: {} orders ({} repeats), {} events ({} repeats)",
        effects.orders.len(),
        repeats(&mut effects.orders.values()),
        effects.events.len(),
        repeats(&mut effects.events.values()),
    );
    println!(
        "  longest recovery {:?}, drained after {drained:.1?}",
        recoveries.iter().max().unwrap_or(&took)
    );
}

/// Numbers from a seed (xorshift).
struct Dice(u64);

impl Dice {
    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        self.0 = self.0.max(1);
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let index = self.0 % u64::try_from(from.len()).expect("a small number");
        from[usize::try_from(index).expect("smaller than the length")]
    }
}
