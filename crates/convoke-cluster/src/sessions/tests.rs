use bytes::Bytes;
use proptest::{collection::vec, prelude::*};
use uuid::Uuid;

use super::{KEPT_BYTES, Seen, Sessions};
use crate::engine::types::{Applied, Origin};

fn origin(client: u128, sequence: u64) -> Origin {
    Origin { client: Uuid::from_u128(client), sequence, answered_below: 0, born: 0 }
}

fn applied(index: u64, answer: &'static str) -> Applied {
    Applied { index, term: 1, answer: Bytes::from_static(answer.as_bytes()), forgotten: false }
}

#[test]
fn a_retry_gets_the_first_answer() {
    let mut sessions = Sessions::default();
    assert_eq!(sessions.seen(&origin(1, 0)), Seen::Never);
    sessions.keep(&origin(1, 0), &applied(10, "first"));
    assert_eq!(sessions.seen(&origin(1, 0)), Seen::Before(applied(10, "first")));
    assert_eq!(sessions.seen(&origin(1, 1)), Seen::Never);
    assert_eq!(sessions.seen(&origin(2, 0)), Seen::Never);
}

#[test]
fn what_the_client_knows_is_no_longer_kept_and_its_retry_is_too_old() {
    let mut sessions = Sessions::default();
    sessions.keep(&origin(1, 0), &applied(10, "first"));
    sessions.keep(&origin(1, 2), &applied(11, "third"));
    sessions.keep(&Origin { answered_below: 2, ..origin(1, 3) }, &applied(12, "fourth"));
    assert_eq!(sessions.seen(&origin(1, 0)), Seen::TooOld);
    assert_eq!(sessions.seen(&origin(1, 1)), Seen::TooOld, "it was given up, and does not run after all");
    assert_eq!(sessions.seen(&origin(1, 2)), Seen::Before(applied(11, "third")));
    assert_eq!(sessions.answer_bytes, 2 * KEPT_BYTES + "thirdfourth".len());
}

#[test]
fn a_client_who_claims_to_know_its_own_answer_still_gets_it_again() {
    let mut sessions = Sessions::default();
    let wrong = Origin { answered_below: 9, ..origin(1, 3) };
    sessions.keep(&wrong, &applied(10, "fourth"));
    assert_eq!(sessions.seen(&wrong), Seen::Before(applied(10, "fourth")));
}

#[test]
fn beyond_the_limit_the_client_that_was_silent_longest_is_dropped_and_runs_nothing_twice() {
    let mut sessions = Sessions::with_limits(2, 8, usize::MAX);
    sessions.keep(&origin(1, 0), &applied(10, "a"));
    sessions.keep(&origin(2, 0), &applied(11, "b"));
    sessions.keep(&origin(1, 1), &applied(12, "c"));
    sessions.keep(&origin(3, 0), &applied(13, "d"));
    assert_eq!(sessions.seen(&origin(2, 0)), Seen::TooOld);
    assert_eq!(sessions.seen(&origin(2, 1)), Seen::TooOld);
    assert_eq!(sessions.seen(&origin(1, 0)), Seen::Before(applied(10, "a")));
    let newcomer = Origin { born: 12, ..origin(4, 0) };
    assert_eq!(sessions.seen(&newcomer), Seen::Never, "who began later was not dropped");
}

#[test]
fn a_client_keeps_its_latest_answers_and_older_ones_are_too_old() {
    let mut sessions = Sessions::with_limits(2, 3, usize::MAX);
    for sequence in 0..5 {
        sessions.keep(&origin(1, sequence), &applied(10 + sequence, "x"));
    }
    assert_eq!(sessions.seen(&origin(1, 1)), Seen::TooOld);
    assert_eq!(sessions.seen(&origin(1, 2)), Seen::Before(applied(12, "x")));
}

#[test]
fn answers_take_no_more_bytes_than_they_may() {
    let mut sessions = Sessions::with_limits(10, 10, 3 * KEPT_BYTES + 30);
    sessions.keep(&origin(1, 0), &applied(10, "ten bytes."));
    sessions.keep(&origin(2, 0), &applied(11, "ten bytes."));
    sessions.keep(&origin(2, 1), &applied(12, "ten bytes."));
    sessions.keep(&origin(2, 2), &applied(13, "ten bytes."));
    assert_eq!(sessions.seen(&origin(1, 0)), Seen::TooOld, "others first");
    assert_eq!(sessions.seen(&origin(2, 0)), Seen::Before(applied(11, "ten bytes.")));
    sessions.keep(&origin(2, 3), &applied(14, "ten bytes."));
    assert_eq!(sessions.seen(&origin(2, 0)), Seen::TooOld, "then its own");
    assert_eq!(sessions.seen(&origin(2, 3)), Seen::Before(applied(14, "ten bytes.")));
    assert_eq!(sessions.answer_bytes, 3 * KEPT_BYTES + 30);
}

proptest! {
    /// Few clients, tight limits, any retries: nothing is applied twice, and an answer is always the first.
    #[test]
    fn nothing_is_applied_twice_and_each_answer_is_the_first(
        calls in vec((0..5u128, 0..6u64, 0..6u64), 1..200),
        clients in 1..4usize,
        answers in 1..4usize,
        bytes in 0..6 * KEPT_BYTES,
    ) {
        let mut sessions = Sessions::with_limits(clients, answers, bytes);
        let mut first = std::collections::HashMap::new();
        for (step, (client, sequence, answered_below)) in calls.into_iter().enumerate() {
            let index = step as u64 + 1;
            let origin = Origin { answered_below, ..origin(client, sequence) };
            match sessions.seen(&origin) {
                Seen::Never => {
                    let now = applied(index, "answer");
                    prop_assert_eq!(first.insert((client, sequence), now.clone()), None, "applied twice");
                    sessions.keep(&origin, &now);
                }
                Seen::Before(answer) => prop_assert_eq!(Some(&answer), first.get(&(client, sequence))),
                Seen::TooOld => {}
            }
            prop_assert!(sessions.clients.len() <= clients && sessions.answer_bytes <= bytes);
            prop_assert_eq!(sessions.heard.len(), sessions.clients.len());
            let sum: usize = sessions.clients.values().map(|session| session.bytes()).sum();
            prop_assert_eq!(sessions.answer_bytes, sum);
            let mut image = Vec::new();
            sessions.write(&mut image).unwrap();
            prop_assert!(Sessions::read(&mut &image[..]).unwrap().same_as(&sessions));
        }
    }
}
