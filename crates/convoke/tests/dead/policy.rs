//! Attempts, pauses, `retry_after` and `poison`: for events of a node and of a group, and for enqueued commands.

use std::time::Duration;

use convoke::{App, Command, Config, Event, Handled, Options, Outcome, Query, State, handler};
use convoke_testing::TestApp;
use serde::{Deserialize, Serialize};

use crate::world::{World, fault};

#[derive(Debug, Clone, Serialize, Deserialize, Event)]
#[event(name = "policy.happened.v1")]
struct Happened(u32);

#[derive(Debug, Clone, Serialize, Deserialize, Command)]
#[command(name = "policy.do.v1")]
struct Do(u32);

#[derive(Debug, Clone, Serialize, Deserialize, Command)]
#[command(name = "policy.do-briefly.v1")]
struct DoBriefly(u32);

#[handler]
async fn on_node(Happened(n): Happened, State(world): State<World>) -> Handled {
    world.note(format!("node {n}"));
    Err(fault(n))
}

#[handler(group = "policy")]
async fn in_group(Happened(n): Happened, State(world): State<World>) -> Handled {
    world.note(format!("group {n}"));
    Err(fault(n))
}

#[handler]
async fn as_job(Do(n): Do, State(world): State<World>) -> Outcome<Do> {
    world.note(format!("job {n}"));
    Err(fault(n))
}

#[handler(attempts = 2, backoff = "10s")]
async fn on_node_briefly(Happened(n): Happened, State(world): State<World>) -> Handled {
    world.note(format!("brief node {n}"));
    Err(fault(n))
}

#[handler(group = "policy", attempts = 2, backoff = "10s")]
async fn in_group_briefly(Happened(n): Happened, State(world): State<World>) -> Handled {
    world.note(format!("brief group {n}"));
    Err(fault(n))
}

#[handler(attempts = 2, backoff = "10s")]
async fn as_job_briefly(DoBriefly(n): DoBriefly, State(world): State<World>) -> Outcome<DoBriefly> {
    world.note(format!("brief job {n}"));
    Err(fault(n))
}

async fn app(world: &World) -> TestApp {
    let mut config = Config::default();
    config.attempts_max = 4;
    config.backoff = Duration::from_secs(1);
    config.backoff_max = Duration::from_secs(3);
    let app = App::new("policy").node("n1").config(config).state(world.clone());
    let app = app.function(on_node).function(in_group).function(as_job);
    let app = app.function(on_node_briefly).function(in_group_briefly).function(as_job_briefly);
    TestApp::start(app).await
}

async fn all_handlers(number: u32) -> (World, Vec<(String, u32)>) {
    let world = World::default();
    let app = app(&world).await;
    app.publish(Happened(number)).await.unwrap();
    app.enqueue(Do(number)).await.unwrap();
    app.enqueue(DoBriefly(number)).await.unwrap();
    app.settled().await;
    let mut dead: Vec<_> = app.dead_letters().into_iter().map(|l| (l.handler, l.attempts)).collect();
    dead.sort();
    (world, dead)
}

#[track_caller]
fn check_attempts(dead: &[(String, u32)], of_config: u32, of_handler: u32) {
    let attempts: Vec<_> = dead.iter().map(|(handler, attempts)| (handler.as_str(), *attempts)).collect();
    let expected = [
        ("as_job", of_config),
        ("as_job_briefly", of_handler),
        ("in_group", of_config),
        ("in_group_briefly", of_handler),
        ("on_node", of_config),
        ("on_node_briefly", of_handler),
    ];
    assert_eq!(attempts, expected);
}

/// Each pause is as long as said, give or take the jitter of a fifth.
#[track_caller]
fn check_pauses(world: &World, line: &str, expected: &[u64]) {
    let pauses = world.pauses(line);
    let fits = |(pause, expected): (&u64, &u64)| (expected * 8 / 10..=expected * 12 / 10 + 5).contains(pause);
    assert!(
        pauses.len() == expected.len() && pauses.iter().zip(expected).all(fits),
        "{line}: {pauses:?} ms instead of {expected:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_fault_is_repeated_after_pauses_that_double_up_to_their_bound() {
    let (world, dead) = all_handlers(3).await;
    check_attempts(&dead, 4, 2);
    for line in ["node 3", "group 3", "job 3"] {
        check_pauses(&world, line, &[1000, 2000, 3000]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_may_have_attempts_and_pauses_of_its_own() {
    let (world, dead) = all_handlers(3).await;
    check_attempts(&dead, 4, 2);
    for line in ["brief node 3", "brief group 3", "brief job 3"] {
        check_pauses(&world, line, &[3000]); // the bound of the configuration holds for it as well
    }
}

#[tokio::test(start_paused = true)]
async fn poison_is_not_repeated() {
    let (_, dead) = all_handlers(1).await;
    check_attempts(&dead, 1, 1);
}

#[tokio::test(start_paused = true)]
async fn a_fault_that_names_its_pause_gets_it() {
    let (world, dead) = all_handlers(2).await;
    check_attempts(&dead, 4, 2);
    for line in ["node 2", "group 2", "job 2"] {
        assert!(
            world.pauses(line).iter().all(|pause| (7000..7010).contains(pause)),
            "{:?}",
            world.pauses(line)
        );
    }
    for line in ["brief node 2", "brief group 2", "brief job 2"] {
        assert_eq!(world.pauses(line).len(), 1, "{line}");
    }
}

#[handler(group = "stuck")]
async fn never_ends(Happened(n): Happened, State(world): State<World>) -> Handled {
    world.note(format!("begins {n}"));
    std::future::pending().await
}

#[tokio::test(start_paused = true)]
async fn an_event_of_a_group_that_ends_each_node_that_takes_it_becomes_a_dead_letter() {
    let world = World::default();
    let start = || App::new("policy").node("n1").state(world.clone()).function(never_ends);
    let mut app = TestApp::start(start()).await;
    app.publish(Happened(1)).await.unwrap();
    let mut begun = Vec::new();
    while app.dead_letters().is_empty() && begun.len() < 100 {
        let until = tokio::time::Instant::now() + Duration::from_secs(10);
        while world.pending() == 0 && app.dead_letters().is_empty() && tokio::time::Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        begun.extend(world.lines());
        app = app.restart(start()).await; // cuts the run off, and leaves its lease to end
    }
    assert_eq!(begun.len(), 30);
    let letter = &app.dead_letters()[0];
    assert!(letter.errors[0].contains("never ended"), "{:?}", letter.errors);
}

#[derive(Debug, Clone, Serialize, Deserialize, Query)]
#[query(name = "policy.ask.v1", reply = u32)]
struct Ask;

#[handler(attempts = 3, on_dead = "park")]
async fn answer(_: Ask) -> Outcome<Ask> {
    Ok(1)
}

#[test]
fn options_that_a_query_cannot_have_end_the_build_with_their_place() {
    let text = App::new("policy").node("n1").function(answer).build().unwrap_err().to_string();
    assert!(text.contains("`answer`") && text.contains("dead/policy.rs"), "{text}");
    assert!(text.contains("a query is never repeated") && text.contains("`on_dead`"), "{text}");
    assert_eq!(Options::DEFAULT.attempts, None);
}
