use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use convoke_core::Executed;
use tokio::time::{Instant, timeout};

use super::kit::{SECRET, pair};
use crate::engine::calls::{Ask, Reach, Reply};
use crate::engine::net::calls::ASK_BYTES_IN_FLIGHT_MAX;
use crate::engine::net::link::QUESTIONS_MAX;
use crate::engine::net::serve::ANSWERING_MAX;
use crate::engine::net::{Identity, Net, Timing};
use crate::engine::types::{Op, Origin};
use crate::{ErrorKind, Secret};

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

fn propose(command_bytes: usize) -> Ask {
    let origin = Origin { client: uuid::Uuid::nil(), born: 0, sequence: 1, answered_below: 0 };
    Ask::Propose { origin, op: Op::Machine(Bytes::from(vec![7; command_bytes])) }
}

#[tokio::test(start_paused = true)]
async fn a_question_reaches_the_member_it_is_for_and_its_answer_comes_back() {
    let pair = pair();
    let calls = pair.one.calls();
    let reply = calls.ask(Some(2), "two", propose(100), soon()).await.expect("answered");
    assert_eq!(reply, Reply::ReadIndex(9));
    assert_eq!(*pair.fake.asked.lock().expect("free"), [propose(100)]);
}

#[tokio::test(start_paused = true)]
async fn a_command_of_the_largest_size_fits() {
    let pair = pair();
    let reply = pair.one.calls().ask(Some(2), "two", propose(3 * 1024 * 1024), soon()).await;
    assert_eq!(reply.expect("answered"), Reply::ReadIndex(9));
}

#[tokio::test(start_paused = true)]
async fn a_slow_question_holds_up_no_other() {
    let pair = pair();
    pair.fake.answers.send_replace(false);
    let calls = pair.one.calls();
    let slow: Vec<_> = (0..50)
        .map(|_| {
            let calls = calls.clone();
            tokio::spawn(async move { calls.ask(Some(2), "two", propose(10), soon()).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(pair.fake.asked.lock().expect("free").len(), 50, "all of them are over there");
    pair.fake.answers.send_replace(true);
    for slow in slow {
        slow.await.expect("no panic").expect("answered");
    }
    assert_eq!(pair.one.attempts(), 1, "on one connection");
}

#[tokio::test(start_paused = true)]
async fn what_was_not_sent_was_not_done_and_what_is_not_answered_may_have_been() {
    let pair = pair();
    let calls = pair.one.calls();
    let error = calls.ask(Some(3), "three", propose(10), soon()).await.expect_err("nobody is there");
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Unavailable, Executed::No));

    pair.fake.answers.send_replace(false);
    let begun = Instant::now();
    let deadline = begun + Duration::from_millis(700);
    let error = calls.ask(Some(2), "two", propose(10), deadline).await.expect_err("no answer");
    assert_eq!((error.kind(), error.executed()), (ErrorKind::TimedOut, Executed::Unknown));
    assert_eq!(begun.elapsed(), Duration::from_millis(700));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_under_a_question_leaves_it_open_whether_it_was_done() {
    let pair = pair();
    pair.fake.answers.send_replace(false);
    let calls = pair.one.calls();
    let asking = tokio::spawn(async move { calls.ask(Some(2), "two", propose(10), soon()).await });
    tokio::time::sleep(Duration::from_millis(10)).await;
    pair.listening.abort();
    let begun = Instant::now();
    let error = asking.await.expect("no panic").expect_err("it broke");
    assert_eq!((error.kind(), error.executed()), (ErrorKind::TimedOut, Executed::Unknown));
    assert!(begun.elapsed() < Duration::from_secs(1), "told at once");
}

#[tokio::test(start_paused = true)]
async fn whoever_is_new_may_ask_for_its_place_and_for_nothing_else() {
    let pair = pair();
    let nameless = Identity::new("tests", Some(&Secret::new(SECRET).expect("long enough")));
    let new = Net::new(nameless, Timing::default(), Arc::new(pair.pipes.clone()));
    let seat = Ask::Seat { name: "n4".to_owned(), raft: "four".to_owned() };
    let reply = new.calls().ask(None, "two", seat, soon()).await;
    assert_eq!(reply.expect("answered"), Reply::ReadIndex(9));
    let reply = new.calls().ask(None, "two", propose(10), soon()).await.expect("answered");
    assert!(matches!(reply, Reply::Failed { kind: ErrorKind::Refused, .. }), "{reply:?}");
    assert_eq!(pair.fake.asked.lock().expect("free").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn beyond_the_limit_of_bytes_a_question_waits_and_is_then_overloaded() {
    let pair = pair();
    pair.fake.answers.send_replace(false);
    let calls = pair.one.calls();
    let large = 3 * 1024 * 1024;
    let fitting = ASK_BYTES_IN_FLIGHT_MAX / large;
    let waiting: Vec<_> = (0..fitting)
        .map(|_| {
            let calls = calls.clone();
            tokio::spawn(async move { calls.ask(Some(2), "two", propose(large), soon()).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let deadline = Instant::now() + Duration::from_secs(1);
    let error = calls.ask(Some(2), "two", propose(large), deadline).await.expect_err("no room");
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Overloaded, Executed::No));
    pair.fake.answers.send_replace(true);
    for waiting in waiting {
        waiting.await.expect("no panic").expect("answered");
    }
    calls.ask(Some(2), "two", propose(large), soon()).await.expect("there is room again");
}

#[tokio::test(start_paused = true)]
async fn a_listener_answers_no_more_questions_at_once_than_its_limit() {
    let pair = pair();
    pair.fake.answers.send_replace(false);
    let calls = pair.one.calls();
    for _ in 0..QUESTIONS_MAX {
        let calls = calls.clone();
        tokio::spawn(async move { calls.ask(Some(2), "two", propose(10), soon()).await });
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(pair.fake.asked.lock().expect("free").len(), ANSWERING_MAX);
    let one_more = timeout(Duration::from_millis(100), calls.ask(Some(2), "two", propose(10), soon()));
    assert!(one_more.await.is_err(), "it waits");
}

#[tokio::test(start_paused = true)]
async fn a_member_that_fell_silent_is_called_anew() {
    let pair = pair();
    let calls = pair.one.calls();
    calls.ask(Some(2), "two", propose(10), soon()).await.expect("answered");
    pair.fake.answers.send_replace(false);
    let brief = Instant::now() + Duration::from_millis(100);
    calls.ask(Some(2), "two", propose(10), brief).await.expect_err("no answer");
    calls.ask(Some(2), "two", propose(10), soon()).await.expect_err("no answer");
    assert_eq!(pair.one.attempts(), 1, "so far it may just be slow");
    pair.fake.answers.send_replace(true);
    calls.ask(Some(2), "two", propose(10), soon()).await.expect("answered");
    assert_eq!(pair.one.attempts(), 2);
}
