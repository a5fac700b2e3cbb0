//! Faults planted inside the nodes, to see that the check finds them: this test program once more, as an orders node
//! that stands on stores and a transport with one thing wrong. No other program has them.
mod stores;
mod transport;

use std::{env, process::Command};

use clap::Parser;
use orders::{
    cli::{Cli, Run},
    logging, node,
    settings::Settings,
};
use stores::PlantedStores;
use transport::PlantedTransport;

use crate::{
    fault::Fault::{self, KillNats, KillNode, StopNode},
    plan::Plan,
    run::run_planted,
};

/// Which fault the process is to have; as the first argument of a node it names this program instead of `orders`.
pub(crate) const FLAG: &str = "--planted";
const PLANTED: &str = "CONVOKE_PLANTED";
const ARGUMENTS: &str = "CONVOKE_PLANTED_ARGUMENTS";
const BETWEEN: &str = "\u{1f}";

/// What is wrong inside of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Planted {
    /// Everything is as it should be, and commits are reported.
    Nothing,
    /// Nobody remembers what was run.
    InboxOff,
    /// Leases are never lost, and a commit that comes too late is taken for a good one.
    FenceOff,
    /// Events are acknowledged before they are handled.
    AckBeforeCommit,
    /// Events are sent, and nobody waits until they are stored.
    EventsOverCore,
}

impl Planted {
    const ALL: [Self; 5] =
        [Self::Nothing, Self::InboxOff, Self::FenceOff, Self::AckBeforeCommit, Self::EventsOverCore];

    pub(crate) fn name(self) -> String {
        format!("{self:?}")
    }

    fn named(name: &str) -> Self {
        Self::ALL.into_iter().find(|planted| planted.name() == name).expect("one of ours")
    }
}

/// A process of this program that runs a node with these arguments, the first of which are [`FLAG`] and a name.
pub(crate) fn program(arguments: &[String]) -> Command {
    let mut program = Command::new(env::current_exe().expect("this program has a path"));
    program.args(["--ignored", "--exact", "planted::node_process", "--nocapture"]);
    program.env(PLANTED, &arguments[1]).env(ARGUMENTS, arguments[2..].join(BETWEEN));
    program
}

/// The process of one node.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the other tests start it"]
async fn node_process() {
    let told = |name| env::var(name).expect("the other tests tell it");
    let (planted, arguments) = (Planted::named(&told(PLANTED)), told(ARGUMENTS));
    let cli = Cli::parse_from(["orders", "node"].into_iter().chain(arguments.split(BETWEEN)));
    let Some(Run::Node(flags)) = cli.command else { panic!("a node was asked for") };
    logging::start(cli.log_format, &cli.log).expect("nobody else logs here");
    let settings = Settings::load(&flags).expect("the arguments are right");
    let witness = settings.effects_url.clone().expect("somebody counts");
    let running = node::start_on(&settings, |transport, stores| {
        let stores = PlantedStores::around(stores, planted, witness);
        (PlantedTransport::around(transport, planted), stores)
    });
    let running = running.await.expect("the node starts");
    println!("\n{} listens on {}", running.node().id(), running.address());
    running.run_until(convoke::signal()).await.expect("nothing fails for good");
}

/// Runs in which nothing shows, when something was planted: a node that was stopped while it ran nothing, for one, comes
/// back too late for nothing.
const RUNS_MAX: u64 = 3;

/// Runs with one kind of fault until the first of the expected sentences is found, and finds none that is not expected.
async fn check(test: &'static str, planted: Planted, fault: Fault, expected: &[&str]) {
    let expects = |violation: &&String| expected.iter().any(|part| violation.contains(part));
    for seed in 1..=RUNS_MAX {
        let plan = Plan { seed, ..Plan::short() };
        let Some(violations) = run_planted(test, planted, fault, plan).await else { return };
        let others: Vec<_> = violations.iter().filter(|violation| !expects(violation)).collect();
        assert_eq!(others, Vec::<&String>::new(), "only {expected:?} was planted");
        let Some(first) = expected.first() else { return };
        if let Some(found) = violations.iter().find(|violation| violation.contains(first)) {
            return println!("  found {}, such as: {found}", violations.len());
        }
    }
    panic!("{planted:?} was not found in {RUNS_MAX} runs");
}

#[tokio::test]
async fn without_a_planted_fault_nothing_is_found() {
    check("without_a_planted_fault_nothing_is_found", Planted::Nothing, StopNode, &[]).await;
}

#[tokio::test]
async fn without_the_inbox_a_doubled_effect_is_found() {
    let test = "without_the_inbox_a_doubled_effect_is_found";
    // Also the questions of the check itself are sent under old keys, and place orders.
    // A run may end between storing and reporting; its repeat, which nobody counted, finds the order and reports nothing.
    let expected = [
        "which was answered with",
        "were done",
        "answers a repeat with",
        "shows other orders",
        "was never done",
    ];
    check(test, Planted::InboxOff, StopNode, &expected).await;
}

#[tokio::test]
async fn without_the_fence_a_stale_commit_is_found() {
    let test = "without_the_fence_a_stale_commit_is_found";
    check(test, Planted::FenceOff, StopNode, &["was committed under the fences"]).await;
}

#[tokio::test]
async fn when_events_are_acknowledged_too_early_a_lost_event_is_found() {
    let test = "when_events_are_acknowledged_too_early_a_lost_event_is_found";
    check(test, Planted::AckBeforeCommit, KillNode, &["never handled the event", "not handled"]).await;
}

#[tokio::test]
async fn when_events_leave_over_core_nats_a_lost_event_is_found() {
    let test = "when_events_leave_over_core_nats_a_lost_event_is_found";
    check(test, Planted::EventsOverCore, KillNats, &["has no event of", "events missing"]).await;
}
