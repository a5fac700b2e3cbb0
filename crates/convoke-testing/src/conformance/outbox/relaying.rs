//! Who publishes what was recorded.

use convoke_core::{Hold, Settle, Turn};

use super::{LONG, Relay, SHORT, batch, places_in, row, rows, rows_in, yours};
use crate::conformance::stores::Fixture;
use crate::eventually;

pub async fn rows_of_a_slot_are_taken_in_the_order_of_their_commits(fixture: &Fixture) {
    let (first, second) = (Relay::first(fixture, LONG), Relay::second(fixture, LONG));
    let rows = rows(6);
    let stored = first.append("k", &rows[..1]).await;
    let (fence, places) = yours(&stored);
    // Whoever commits them, the one who holds the slot publishes them.
    for (at, relay) in [&second, &first, &second].iter().enumerate() {
        let next = relay.append("k", &rows[at + 1..at + 2]).await;
        assert_eq!((next.slot, next.turn), (stored.slot, Turn::Others));
    }
    let next = batch(first.settle(stored.slot, fence, &places).await);
    assert_eq!((next.fence, rows_in(&next)), (fence, rows[1..4].to_vec()));
    second.append("k", &rows[4..]).await;
    let next = batch(first.settle(stored.slot, fence, &places_in(&next)).await);
    assert_eq!(rows_in(&next), rows[4..]);
}

pub async fn a_slot_that_is_held_is_left_to_its_holder(fixture: &Fixture) {
    let (first, second) = (Relay::first(fixture, LONG), Relay::second(fixture, LONG));
    let slot = first.append("k", &rows(2)).await.slot;
    let taken = second.take(slot).await;
    assert_eq!((taken.waiting, taken.batch), (2, None));
    assert!(taken.oldest.is_some_and(|age| age < LONG), "{:?}", taken.oldest);
    // The holder itself may take it again: it may have missed an answer.
    let (before, again) = (batch(first.take(slot).await), batch(first.take(slot).await));
    assert!(again.fence > before.fence);
    assert_eq!(again.rows, before.rows);
}

pub async fn a_slot_is_free_when_its_last_row_is_settled(fixture: &Fixture) {
    let (first, second) = (Relay::first(fixture, LONG), Relay::second(fixture, LONG));
    let stored = first.append("k", &rows(2)).await;
    let (fence, places) = yours(&stored);
    let taken = first.settle(stored.slot, fence, &places).await;
    assert_eq!((taken.waiting, taken.oldest, taken.batch), (0, None, None));
    let next = second.append("k", &rows(1)).await;
    assert!(yours(&next).0 > fence, "fences grow");
}

pub async fn a_slot_that_was_given_back_is_taken_at_once(fixture: &Fixture) {
    let (first, second) = (Relay::first(fixture, LONG), Relay::second(fixture, LONG));
    let rows = rows(2);
    let stored = first.append("k", &rows).await;
    let (fence, _) = yours(&stored);
    let hold = Hold { slot: stored.slot, fence };
    for _ in 0..2 {
        first.store.give_back(&first.outbox, hold).await.expect("the store answers");
    }
    let taken = batch(second.take(stored.slot).await);
    assert!(taken.fence > fence);
    assert_eq!(rows_in(&taken), rows);
    // Late, it takes nothing away.
    first.store.give_back(&first.outbox, hold).await.expect("the store answers");
    assert_eq!(first.take(stored.slot).await.batch, None);
}

pub async fn a_relay_that_is_silent_loses_its_slot_and_what_it_settles_late_stays(fixture: &Fixture) {
    let (first, second) = (Relay::first(fixture, SHORT), Relay::second(fixture, LONG));
    let rows = rows(2);
    let stored = first.append("k", &rows).await;
    let (fence, places) = yours(&stored);
    let slot = stored.slot;
    eventually("the lease has run out", async || second.take(slot).await.batch.is_some()).await;
    let won = batch(second.take(slot).await);
    assert!(won.fence > fence);
    assert_eq!(rows_in(&won), rows);
    let late = first.settle(slot, fence, &places).await;
    assert_eq!((late.waiting, late.batch), (2, None));
    assert_eq!(second.settle(slot, won.fence, &places_in(&won)).await.waiting, 0);
}

pub async fn a_repeated_settle_changes_nothing(fixture: &Fixture) {
    let relay = Relay::first(fixture, LONG);
    let rows = rows(3);
    let stored = relay.append("k", &rows).await;
    let (fence, places) = yours(&stored);
    for _ in 0..3 {
        let taken = relay.settle(stored.slot, fence, &places[..2]).await;
        assert_eq!((taken.waiting, rows_in(&batch(taken))), (1, rows[2..].to_vec()));
    }
    for _ in 0..2 {
        assert_eq!(relay.settle(stored.slot, fence, &places).await.waiting, 0);
    }
}

pub async fn what_the_broker_never_takes_is_put_aside(fixture: &Fixture) {
    let relay = Relay::first(fixture, LONG);
    let rows = rows(3);
    let stored = relay.append("k", &rows).await;
    let (fence, places) = yours(&stored);
    let aside = Settle { place: places[1].clone(), parked: Some("too large".to_owned()) };
    let gone = Settle { place: places[0].clone(), parked: None };
    let hold = Hold { slot: stored.slot, fence };
    for _ in 0..2 {
        let settle = [gone.clone(), aside.clone()];
        let taken = relay.store.settle(&relay.outbox, hold, &settle).await.expect("the store answers");
        assert_eq!((taken.waiting, taken.parked), (1, 1));
        assert_eq!(rows_in(&batch(taken)), rows[2..]);
    }
}

pub async fn rows_of_other_services_are_apart(fixture: &Fixture) {
    let (first, mut other) = (Relay::first(fixture, LONG), Relay::second(fixture, LONG));
    other.outbox.scope.push_str(":other");
    let slot = first.append("k", &[row("x")]).await.slot;
    let theirs = other.append("k", &[row("y")]).await;
    yours(&theirs);
    assert_eq!((theirs.slot, theirs.waiting), (slot, 1));
    assert_eq!(first.take(slot).await.waiting, 1);
}

pub async fn a_busy_slot_is_answered_in_batches(fixture: &Fixture) {
    let relay = Relay::first(fixture, LONG);
    let rows = rows(25);
    let slot = relay.append("k", &rows).await.slot;
    let mut next = batch(relay.take(slot).await);
    for expected in [&rows[..10], &rows[10..20], &rows[20..]] {
        assert_eq!(rows_in(&next), expected);
        let taken = relay.settle(slot, next.fence, &places_in(&next)).await;
        match taken.batch {
            Some(batch) => next = batch,
            None => assert_eq!(taken.waiting, 0),
        }
    }
    assert_eq!(relay.take(slot).await.waiting, 0);
}
