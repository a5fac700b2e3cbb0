//! A node dies at every single call to the outside, before and after the call took effect, and lives again: what
//! was promised holds wherever it died.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod planted;
mod service;
mod world;

use convoke::App;
use convoke_testing::outside::{CrashPoint, each_crash_point};

use planted::Planted;
use service::{audit, bill, notify, place, track};
use world::{Ask, Mark, Ran, Scenario, run};

const PLACED: (&str, Mark) = ("place", Mark::Claim("crash.place.v1"));

const SENT: Scenario = Scenario {
    name: "a command is sent",
    handlers: |app: App| app.function(place),
    seconds: 0,
    ask: Ask::Send,
    ask_again: Ask::Send,
    effects: &[PLACED],
    ships: false,
    outbox: false,
};
const SENT_SLOW: Scenario =
    Scenario { name: "a command that outlives a lease and an attempt is sent", seconds: 7, ..SENT };
const ENQUEUED: Scenario =
    Scenario { name: "a command is enqueued", ask: Ask::Enqueue, ask_again: Ask::Enqueue, ..SENT };
const SENT_THEN_ENQUEUED: Scenario =
    Scenario { name: "a command is sent, and enqueued after a death", ask_again: Ask::Enqueue, ..SENT };
const ENQUEUED_THEN_SENT: Scenario =
    Scenario { name: "a command is enqueued, and sent after a death", ask: Ask::Enqueue, ..SENT };
const ON_EVERY_NODE: Scenario = Scenario {
    name: "an event is handled on every node, and another one after it",
    handlers: |app: App| app.function(place).function(notify).function(track),
    effects: &[PLACED, ("notify", Mark::Saved), ("track", Mark::Saved)],
    ships: true,
    ..SENT
};
const TWO_HANDLERS: Scenario = Scenario {
    name: "an event has two handlers on every node",
    handlers: |app: App| app.function(place).function(notify).function(audit),
    effects: &[PLACED, ("notify", Mark::Saved), ("audit", Mark::Saved)],
    ships: true,
    ..SENT
};
const IN_A_GROUP: Scenario = Scenario {
    name: "an event is handled in a group",
    handlers: |app: App| app.function(place).function(bill),
    effects: &[PLACED, ("bill", Mark::Claim(":billing:"))],
    ships: true,
    ..SENT
};

/// The same with an outbox.
const fn in_outbox(scenario: Scenario, name: &'static str) -> Scenario {
    Scenario { name, outbox: true, ..scenario }
}

/// What an enumeration found.
#[derive(Default)]
struct Report {
    /// The calls of a life without a death.
    calls: Vec<String>,
    runs: usize,
    violations: Vec<String>,
}

impl Report {
    fn add(&mut self, scenario: &Scenario, deaths: &[CrashPoint], ran: Ran) {
        self.runs += 1;
        let line = |text: String| format!("{}, {deaths:?} of {:?}: {text}", scenario.name, ran.lives);
        self.violations.extend(ran.violations.into_iter().map(line));
    }
}

/// One death, at each call there is.
fn enumerate(scenario: &Scenario, planted: Planted) -> Report {
    let mut report = Report::default();
    each_crash_point(|point| {
        let ran = run(scenario, &[point], planted);
        let (calls, died) = ran.lives[0].clone();
        report.add(scenario, &[point], ran);
        if !died {
            report.calls = calls;
        }
        died
    });
    report
}

/// Two deaths as well: at each call of the first life, and then at each call of the second.
fn enumerate_pairs(scenario: &Scenario, report: &mut Report) {
    for first in both_sides(report.calls.len()) {
        each_crash_point(|second| {
            let ran = run(scenario, &[first, second], Planted::Nothing);
            let died = ran.lives[1].1;
            report.add(scenario, &[first, second], ran);
            died
        });
    }
}

fn both_sides(calls: usize) -> impl Iterator<Item = CrashPoint> {
    (1..=calls).flat_map(|call| [CrashPoint::before(call), CrashPoint::after(call)])
}

/// How often the node dies in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deaths {
    One,
    UpToTwo,
}

/// The promises hold at each of the points, and there are enough of them, of all these kinds.
#[track_caller]
fn check(scenario: &Scenario, deaths: Deaths, calls_min: usize, kinds: &[&str]) {
    let mut report = enumerate(scenario, Planted::Nothing);
    if deaths == Deaths::UpToTwo {
        enumerate_pairs(scenario, &mut report);
    }
    let Report { calls, runs, violations } = report;
    println!(
        "{}: died at k = 1..={}, before and after, deaths {deaths:?}, {runs} runs",
        scenario.name,
        calls.len()
    );
    println!("    {}", calls.join(", "));
    assert!(violations.is_empty(), "{} violations, such as:\n{}", violations.len(), violations[0]);
    assert!(calls.len() >= calls_min, "{} calls are fewer than {calls_min}", calls.len());
    let missing: Vec<_> =
        kinds.iter().filter(|kind| !calls.iter().any(|call| call.starts_with(**kind))).collect();
    assert!(missing.is_empty(), "no death at {missing:?}");
}

#[test]
fn a_sent_command_runs_to_one_order_and_one_reply() {
    let kinds = [
        "open",
        "serve",
        "consume",
        "request",
        "claim",
        "put order",
        "publish",
        "complete",
        "leave",
        "close",
    ];
    check(&SENT, Deaths::UpToTwo, 10, &kinds);
}

#[test]
fn a_slow_command_does_so_with_renewals_and_repeats_in_between() {
    check(&SENT_SLOW, Deaths::One, 30, &["renew", "changed"]);
}

#[test]
fn an_enqueued_command_runs_to_one_order_and_is_settled() {
    check(&ENQUEUED, Deaths::UpToTwo, 10, &["enqueue", "claim", "put order", "publish", "complete"]);
}

#[test]
fn a_command_that_is_sent_and_then_enqueued_keeps_its_identity() {
    check(&SENT_THEN_ENQUEUED, Deaths::One, 10, &["request", "complete"]);
}

#[test]
fn a_command_that_is_enqueued_and_then_sent_keeps_its_identity() {
    check(&ENQUEUED_THEN_SENT, Deaths::One, 10, &["enqueue", "complete"]);
}

#[test]
fn an_effect_on_every_node_repeats_only_for_a_death_before_its_mark() {
    check(&ON_EVERY_NODE, Deaths::UpToTwo, 17, &["load", "effect", "publish", "save"]);
}

#[test]
fn two_handlers_of_one_event_are_marked_each_for_itself() {
    check(&TWO_HANDLERS, Deaths::One, 18, &["load", "effect", "publish", "save"]);
}

#[test]
fn an_effect_in_a_group_repeats_only_for_a_death_before_its_claim_is_done() {
    check(&IN_A_GROUP, Deaths::One, 15, &["claim", "effect", "publish", "complete"]);
}

/// A node that dies publishes nothing that its outcome, or mark, does not say; and what they say is published.
#[test]
fn outcome_and_outbox_agree_wherever_a_command_dies() {
    let sent = in_outbox(SENT, "a command is sent, with an outbox");
    check(&sent, Deaths::UpToTwo, 10, &["claim", "put order", "commit", "publish", "settle", "take"]);
    let enqueued = in_outbox(ENQUEUED, "a command is enqueued, with an outbox");
    check(&enqueued, Deaths::One, 10, &["enqueue", "commit", "publish", "settle"]);
}

#[test]
fn mark_and_outbox_agree_wherever_an_event_handler_dies() {
    let everywhere = in_outbox(ON_EVERY_NODE, "an event is handled on every node, with an outbox");
    check(&everywhere, Deaths::One, 17, &["load", "effect", "commit", "publish", "settle"]);
    let two = in_outbox(TWO_HANDLERS, "an event has two handlers on every node, with an outbox");
    check(&two, Deaths::One, 17, &["effect", "commit", "publish", "settle"]);
}

#[test]
fn claim_and_outbox_agree_wherever_a_handler_of_a_group_dies() {
    let grouped = in_outbox(IN_A_GROUP, "an event is handled in a group, with an outbox");
    check(&grouped, Deaths::One, 15, &["claim", "effect", "commit", "publish", "settle"]);
}

/// The check itself: with a fault outside it reports something, at one point of the enumeration at least.
#[test]
fn planted_faults_are_found() {
    let sent = in_outbox(SENT, "a command is sent, with an outbox");
    let everywhere = in_outbox(ON_EVERY_NODE, "an event is handled on every node, with an outbox");
    for (scenario, planted, text) in [
        (&sent, Planted::ForgetsRows, "placed: []"),
        (&sent, Planted::SettlesNothing, "it does not come to rest"),
        (&sent, Planted::PublishesUnderNewIds, "publications: "),
        (&everywhere, Planted::ForgetsRows, "placed: []"),
        (&SENT, Planted::CompletesNothing, "the claim "),
        (&SENT, Planted::ForgetsTheFirstId, "there are 2 orders"),
        (&SENT, Planted::PublishesUnderNewIds, "publications: "),
        (&ENQUEUED, Planted::EnqueuesNothing, "there are 0 orders"),
        (&ENQUEUED, Planted::CompletesNothing, "the claim "),
        (&ON_EVERY_NODE, Planted::MarksNothing, "`notify` had 2 effects"),
        (&IN_A_GROUP, Planted::CompletesNothing, "the claim "),
    ] {
        let report = enumerate(scenario, planted);
        let found = report.violations.iter().filter(|violation| violation.contains(text)).count();
        println!("{planted:?}, {}: found {found} times in {} runs", scenario.name, report.runs);
        assert!(found > 0, "{planted:?} goes unseen: {:?}", report.violations);
    }
}
