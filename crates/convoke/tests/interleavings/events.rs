//! Two events within a node: of one key they are handled one after the other, whoever's turn it is.
use std::sync::Arc;

use convoke::{App, Event, Handled, State, handler};
use convoke_testing::{TestApp, outside::Turns};
use serde::{Deserialize, Serialize};
use tokio::runtime::Builder;

use super::words;

/// Steps of each handler.
const STEPS: usize = 6;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
#[event(name = "turns.moved.v1", key = key)]
struct Moved {
    key: String,
    number: usize,
}

#[derive(Clone)]
struct Desk(Arc<Turns>);

#[handler]
async fn moved(event: Moved, State(desk): State<Desk>) -> Handled {
    for step in 0..STEPS {
        desk.0.pass(event.number, format!("{step}")).await;
    }
    Ok(())
}

/// Whose steps were taken, in order, when the turns were these.
async fn run(keys: [&str; 2], word: &[usize]) -> Vec<usize> {
    let turns = Turns::held();
    let app = TestApp::start(App::new("turns").node("n1").state(Desk(turns.clone())).function(moved)).await;
    for (number, key) in (1..).zip(keys) {
        app.publish(Moved { key: key.to_owned(), number }).await.unwrap();
    }
    for party in word {
        turns.rest().await;
        turns.next(*party);
    }
    turns.release();
    app.settled().await;
    assert!(app.dead_letters().is_empty());
    turns.taken().into_iter().map(|(party, _)| party).collect()
}

fn check(keys: [&str; 2], expected: impl Fn(&[usize]) -> Vec<usize>) {
    for word in words(STEPS, STEPS) {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        assert_eq!(runtime.block_on(run(keys, &word)), expected(&word), "turns {word:?}");
    }
}

#[test]
fn two_events_of_one_key_are_handled_one_after_the_other() {
    check(["a", "a"], |_| [vec![1; STEPS], vec![2; STEPS]].concat());
}

/// The schedule itself: what may run side by side takes its steps as the turns are.
#[test]
fn two_events_of_two_keys_take_their_turns() {
    check(["a", "b"], <[usize]>::to_vec);
}
