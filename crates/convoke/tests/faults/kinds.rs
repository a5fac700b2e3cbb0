//! Each kind of fault by itself, with what it does to an app.
use std::time::Duration;

use convoke::{Executed, SendError};
use convoke_testing::{Faults, TestApp, outside::CrashPoint};
use tokio::time::Instant;

use super::service::{Moved, Noted, Place, World, app};

#[tokio::test(start_paused = true)]
async fn duplicates_reach_a_view_twice_and_a_marked_handler_once() {
    let world = World::default();
    let app = TestApp::of(app(&world)).faults(Faults::from_seed(1).duplicate(1.0)).start().await;
    for step in 0..20 {
        app.publish(Noted { step }).await.unwrap();
    }
    app.settled().await;
    let seen = world.seen();
    assert_eq!((seen.viewed.len(), seen.notes.len()), (40, 20));
    let ways = |way: &str| app.faults().iter().filter(|line| line.contains(way)).count();
    assert!(ways("AtOnce") > 0 && ways("WhenSettled") > 0, "{:?}", app.faults());
}

#[tokio::test(start_paused = true)]
async fn what_is_dropped_fails_as_a_caller_would_see_it_and_only_a_lost_answer_ran() {
    let mut kinds = [0; 3];
    let mut ran = 0;
    for seed in 0..40 {
        let world = World::default();
        let faults = Faults::from_seed(seed).drop(1.0).at_most(1);
        let app = TestApp::of(app(&world)).faults(faults).start().await;
        let attempt = app.publish(Noted { step: 1 }).timeout(Duration::from_secs(2)).await;
        app.settled().await;
        let arrived = world.seen().notes.len();
        let lost_answer = app.faults()[0].contains("answer lost");
        assert_eq!(arrived, usize::from(lost_answer), "{:?}", app.faults());
        ran += arrived;
        match attempt.expect_err("it was dropped") {
            SendError::TimedOut => kinds[0] += 1,
            SendError::Disconnected => kinds[1] += 1,
            error @ SendError::Unavailable(_) => {
                assert_eq!((error.executed(), arrived), (Executed::No, 0));
                kinds[2] += 1;
            }
            other => panic!("{other}"),
        }
    }
    assert!(kinds.iter().all(|kind| *kind > 0) && ran > 0, "{kinds:?}, {ran} ran");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_request_is_sent_again_when_its_command_is_idempotent() {
    let world = World::default();
    let app = TestApp::of(app(&world)).faults(Faults::from_seed(3).drop(1.0).at_most(1)).start().await;
    let order = app.send(Place { customer: 7 }).idempotency_key("k").await.unwrap();
    app.settled().await;
    assert!(app.faults()[0].starts_with("request faults.place.v1 #1"), "{:?}", app.faults());
    assert_eq!(world.seen().orders.into_iter().collect::<Vec<_>>(), [(order, 7)]);
}

#[tokio::test(start_paused = true)]
async fn delays_take_time_and_lose_nothing() {
    let world = World::default();
    let faults = Faults::from_seed(4).delay(1.0, Duration::from_millis(300));
    let app = TestApp::of(app(&world)).faults(faults).start().await;
    let start = Instant::now();
    for step in 0..10 {
        app.publish(Noted { step }).await.unwrap();
    }
    app.settled().await;
    assert!(start.elapsed() > Duration::from_millis(300), "{:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert_eq!(world.seen().notes.len(), 10);
}

/// Moves of four customers, by step, as they were handled.
async fn moves(faults: Faults) -> Vec<(String, u32)> {
    let world = World::default();
    let app = TestApp::of(app(&world)).faults(faults).start().await;
    for step in 0..20 {
        for customer in ["a", "b", "c", "d"] {
            app.publish(Moved { customer: customer.to_owned(), step }).await.unwrap();
        }
    }
    app.settled().await;
    let moves = world.seen().moves;
    assert_eq!(moves.len(), 80);
    moves
}

fn is_in_order(moves: &[(String, u32)], customer: &str) -> bool {
    moves.iter().filter(|(of, _)| of == customer).is_sorted_by_key(|(_, step)| *step)
}

#[tokio::test(start_paused = true)]
async fn keys_overtake_each_other_and_none_itself_unless_asked() {
    let customers = ["a", "b", "c", "d"];
    let still = moves(Faults::from_seed(5)).await;
    assert!(still.is_sorted_by_key(|(_, step)| *step), "without faults");
    let across = moves(Faults::from_seed(5).reorder(0.5)).await;
    assert!(!across.is_sorted_by_key(|(_, step)| *step), "nothing was overtaken");
    assert!(customers.iter().all(|customer| is_in_order(&across, customer)), "{across:?}");
    let within = moves(Faults::from_seed(5).reorder(0.5).reorder_within_keys()).await;
    assert!(customers.iter().any(|customer| !is_in_order(&within, customer)), "{within:?}");
}

#[tokio::test(start_paused = true)]
async fn a_view_keeps_its_order_under_all_that() {
    let world = World::default();
    let faults = Faults::from_seed(6).reorder(0.5).delay(0.3, Duration::from_millis(100));
    let app = TestApp::of(app(&world)).faults(faults).start().await;
    for step in 0..40 {
        app.publish(Noted { step }).await.unwrap();
    }
    app.settled().await;
    assert!(world.seen().viewed.is_sorted() && !world.seen().notes.is_sorted(), "{:?}", world.seen());
}

#[tokio::test(start_paused = true)]
async fn a_node_dies_where_it_was_told_to_and_lives_again_with_the_same_bus_and_stores() {
    // So many calls are made before the command's own; then come its claim and its event.
    let mut runs = Vec::new();
    for call in 1..30 {
        let world = World::default();
        let faults = Faults::from_seed(7).crash_at(CrashPoint::after(call));
        let app = TestApp::of(app(&world)).faults(faults).start().await;
        let order = app.send(Place { customer: 1 }).idempotency_key("k").await.unwrap();
        app.settled().await;
        let seen = world.seen();
        assert_eq!(seen.orders.into_keys().collect::<Vec<_>>(), [order], "call {call}");
        assert!(seen.mails[&order] >= 1, "call {call}");
        runs.push((app.deaths(), seen.runs));
    }
    assert_eq!(runs[0], (1, 1), "a death at the start");
    assert!(runs.contains(&(1, 2)), "a death between the run and its outcome: {runs:?}");
    assert_eq!(runs[28], (0, 1), "no death after so many calls");
}
