use std::{env, fs, ops::Range, path::Path};

use convoke_testing::is_soak;

use super::{Plan, Planted, Report, nemesis, nemesis::Made, operator, run};

/// The environment variable that repeats one run.
const SEED_VARIABLE: &str = "CONVOKE_SIM_SEED";
/// Seeds of a test. There are four tests of three nodes and two of five: 200 seeds, and 5,000 in the long form.
const SEEDS: [(u64, Seeds); 2] = [(3, Seeds { quick: 40, soak: 850 }), (5, Seeds { quick: 20, soak: 800 })];

#[derive(Clone, Copy)]
struct Seeds {
    quick: u64,
    soak: u64,
}

/// The seeds of the `part`th test of so many nodes.
fn seeds(nodes: u64, part: u64) -> Range<u64> {
    let (_, of) = SEEDS.into_iter().find(|(size, _)| *size == nodes).expect("three or five");
    let first = nodes * 1_000_000 + part * 10_000;
    first..first + if is_soak() { of.soak } else { of.quick }
}

fn plan(seed: u64, nodes: u64) -> Plan {
    Plan { seed, nodes, planted: Planted::Nothing }
}

/// How one run is repeated.
fn replay(plan: &Plan) -> String {
    format!(
        "{SEED_VARIABLE}={} cargo test -p convoke-cluster --lib sim::tests::simulations_of_{}",
        plan.seed,
        if plan.nodes == 3 { "three" } else { "five" }
    )
}

#[track_caller]
fn accept(plan: &Plan, report: &Report) {
    assert!(
        report.violations.is_empty(),
        "{}\nfaults: {:?}\nchanges: {:?}\nagain: {}",
        report.violations.join("\n"),
        report.made,
        report.changed,
        replay(plan)
    );
}

fn simulate(nodes: u64, part: u64) {
    if let Ok(seed) = env::var(SEED_VARIABLE) {
        if part > 0 {
            return; // the first part runs it
        }
        let plan = plan(seed.parse().expect("a seed is a number"), nodes);
        let report = run(plan);
        report.events.iter().filter(|event| !event.is_traffic()).for_each(|event| println!("{event}"));
        println!("hash {:016x}, {} answered, {} unknown", report.hash, report.answered, report.unknown);
        return accept(&plan, &report);
    }
    let seeds = seeds(nodes, part);
    let runs = seeds.end - seeds.start;
    let (mut made, mut changed) = (Made::new(), Made::new());
    let (mut answered, mut terms, mut lost, mut received) = (0, 0, 0, 0);
    for seed in seeds {
        let plan = plan(seed, nodes);
        let report = run(plan);
        accept(&plan, &report);
        add(&mut made, &report.made);
        add(&mut changed, &report.changed);
        received += report.received;
        answered += report.answered as u64;
        terms += report.terms as u64;
        lost += report.lost_writes;
    }
    println!(
        "{runs} runs of {nodes} nodes: {answered} answers, {terms} changes of leaders, {lost} writes lost, {made:?}, \
         {changed:?}, {received} first snapshots"
    );
    // A simulation in which nothing happens proves nothing.
    assert!(answered >= runs * 100, "{answered} answers in {runs} runs");
    assert!(terms >= runs / 2, "{terms} changes of leaders in {runs} runs");
    assert!(lost > 0, "{lost} writes lost in crashes in {runs} runs");
    assert!(made.len() == nemesis::KINDS, "not every kind of fault was made: {made:?}");
    // All of them in most tests: some are rare.
    assert!(changed.len() + 1 >= operator::KINDS, "too few kinds of changes were made: {changed:?}");
    assert!(received > 0, "nobody caught up by a snapshot");
}

fn add(sum: &mut Made, made: &Made) {
    made.iter().for_each(|(kind, count)| *sum.entry(*kind).or_default() += count);
}

#[test]
fn simulations_of_three_nodes_keep_every_promise() {
    simulate(3, 0);
}

#[test]
fn more_simulations_of_three_nodes_keep_every_promise() {
    simulate(3, 1);
}

#[test]
fn other_simulations_of_three_nodes_keep_every_promise() {
    simulate(3, 2);
}

#[test]
fn the_last_simulations_of_three_nodes_keep_every_promise() {
    simulate(3, 3);
}

#[test]
fn simulations_of_five_nodes_keep_every_promise() {
    simulate(5, 0);
}

#[test]
fn more_simulations_of_five_nodes_keep_every_promise() {
    simulate(5, 1);
}

#[test]
fn the_same_seed_is_the_same_run() {
    for (seed, nodes) in again() {
        let (one, other) = (run(plan(seed, nodes)), run(plan(seed, nodes)));
        let differs = one.events.iter().zip(&other.events).position(|(one, other)| one != other);
        if let Some(place) = differs {
            let around = place.saturating_sub(10)..place + 1;
            let show = |events: &[super::Event]| {
                events[around.clone()].iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
            };
            panic!("event {place} differs:\n{}\n--- and ---\n{}", show(&one.events), show(&other.events));
        }
        assert_eq!(one.hash, other.hash);
        assert_ne!(one.hash, run(plan(seed + 1, nodes)).hash);
    }
}

/// What is run again. The second one told, now and then, in which order Tokio wakes those who wait for a watch.
fn again() -> Vec<(u64, u64)> {
    if is_soak() {
        (100..160).flat_map(|seed| [(seed, 3), (seed, 5)]).collect()
    } else {
        vec![(1, 3), (101, 3)]
    }
}

/// Of these seeds, the first whose run finds the fault.
#[track_caller]
fn found(planted: Planted, seeds: Range<u64>) -> String {
    let reports = seeds.clone().map(|seed| run(Plan { seed, nodes: 3, planted }));
    let found = reports.map(|report| report.violations).find(|violations| !violations.is_empty());
    found.unwrap_or_else(|| panic!("{planted:?} was not found in {seeds:?}")).join("\n")
}

#[test]
fn an_acknowledgement_before_the_sync_is_found() {
    found(Planted::AckBeforeSync, 0..40);
}

#[test]
fn a_lease_read_without_a_look_at_the_lease_is_found() {
    let text = found(Planted::LeaseUnchecked, 0..40);
    assert!(text.contains("not linearizable"), "{text}");
}

#[test]
fn a_snapshot_that_forgets_who_was_removed_is_found() {
    found(Planted::MembersForgotten, 0..40);
}

#[test]
fn a_retry_that_is_applied_twice_is_found() {
    found(Planted::NoDedup, 0..40);
}

/// Without it Tokio draws which branch is looked at first, by a seed of its own, and no seed of ours repeats a run.
#[test]
fn no_choice_between_branches_is_left_to_chance() {
    let mut unordered = Vec::new();
    look_at(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut unordered);
    assert_eq!(unordered, Vec::<String>::new(), "begin them with `biased;`");
}

fn look_at(folder: &Path, unordered: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("our own sources") {
        let path = entry.expect("our own sources").path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().contains("test")) {
            continue;
        }
        if path.is_dir() {
            look_at(&path, unordered);
            continue;
        }
        let text = fs::read_to_string(&path).expect("our own sources");
        for (line, next) in text.lines().zip(text.lines().skip(1)) {
            let is_code = !line.trim_start().starts_with("//");
            if is_code && line.contains("select! {") && next.trim() != "biased;" {
                unordered.push(format!("{}: {}", path.display(), line.trim()));
            }
        }
    }
}
