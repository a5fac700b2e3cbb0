//! What is recorded together.

use bytes::Bytes;
use convoke_core::{Beside, Claimed, Commit, Committed, Record, Row, StoreErrorKind, Turn, Writes};
use futures_util::future::join_all;
use uuid::Uuid;

use super::{LONG, Relay, ending, places_in, replied, row, rows, rows_in, stored, yours};
use crate::conformance::stores::{Fixture, claim, own};

pub async fn an_outcome_and_its_rows_are_recorded_in_one_step(fixture: &Fixture) {
    let (relay, key, rows) = (Relay::first(fixture, LONG), fixture.key("k"), rows(2));
    let held = own(fixture.claims(), &key, claim(LONG)).await;
    let outcome = replied("ok");
    let stored = stored(relay.commit(ending(&key, held.holder, &outcome), &rows).await);
    let (_, places) = yours(&stored);
    assert_eq!((places.len(), stored.waiting), (2, 2));
    let claimed = fixture.other_claims().claim(&key, claim(LONG)).await.expect("the store answers");
    assert_eq!(claimed, Claimed::Done(outcome));
    let taken = super::batch(relay.take(stored.slot).await);
    assert_eq!((rows_in(&taken), places_in(&taken)), (rows, places));
}

pub async fn a_fenced_commit_records_nothing(fixture: &Fixture) {
    let (relay, key) = (Relay::first(fixture, LONG), fixture.key("k"));
    let first = own(fixture.claims(), &key, claim(LONG)).await;
    fixture.claims().release(&key, first.holder).await.expect("the store answers");
    let second = own(fixture.claims(), &key, claim(LONG)).await;
    let late = replied("late");
    assert_eq!(relay.commit(ending(&key, first.holder, &late), &rows(1)).await, Committed::Fenced);
    let outcome = replied("ok");
    let stored = stored(relay.commit(ending(&key, second.holder, &outcome), &rows(1)).await);
    assert_eq!(stored.waiting, 1, "the fenced commit left a row");
    let claimed = fixture.claims().claim(&key, claim(LONG)).await.expect("the store answers");
    assert_eq!(claimed, Claimed::Done(outcome));
}

pub async fn a_repeated_commit_records_its_rows_once(fixture: &Fixture) {
    let (relay, key, rows) = (Relay::first(fixture, LONG), fixture.key("k"), rows(3));
    let held = own(fixture.claims(), &key, claim(LONG)).await;
    let outcome = replied("ok");
    let record = ending(&key, held.holder, &outcome);
    let first = stored(relay.commit(record, &rows).await);
    for _ in 0..2 {
        let again = stored(relay.commit(record, &rows).await);
        assert_eq!((again.slot, again.waiting), (first.slot, 3));
        assert!(!matches!(again.turn, Turn::Yours { .. }), "its places were told before: {again:?}");
    }
    // Who heard none of the answers finds the rows.
    assert_eq!(rows_in(&super::batch(relay.take(first.slot).await)), rows);
}

pub async fn marks_and_their_rows_are_recorded_in_one_step(fixture: &Fixture) {
    let (relay, scope, rows) = (Relay::first(fixture, LONG), fixture.scope("n1"), rows(2));
    let (first, second) = (Bytes::from_static(b"first"), Bytes::from_static(b"second"));
    let record = Record::Marks { scope: &scope, record: &first, expected: None };
    let one = stored(relay.commit(record, &rows[..1]).await);
    let record = Record::Marks { scope: &scope, record: &second, expected: Some(one.version) };
    let two = stored(relay.commit(record, &rows[1..]).await);
    assert_eq!((two.slot, two.waiting, &two.turn), (one.slot, 2, &Turn::Others));
    let found = fixture.second.marks.load(&scope).await.expect("the store answers");
    assert_eq!(found, Some((second, two.version)));
    assert_eq!(rows_in(&super::batch(relay.take(one.slot).await)), rows);
}

pub async fn marks_of_another_version_are_a_conflict_and_nothing_is_recorded(fixture: &Fixture) {
    let (relay, scope) = (Relay::first(fixture, LONG), fixture.scope("n1"));
    let marks = Bytes::from_static(b"first");
    let version = fixture.marks().save(&scope, marks.clone(), None).await.expect("the store answers");
    let rows = rows(1);
    for expected in [None, Some(version + 1)] {
        let other = Bytes::from_static(b"other");
        let commit = Commit {
            record: Record::Marks { scope: &scope, record: &other, expected },
            rows: &rows,
            writes: &[],
        };
        let error = relay.store.commit(&relay.outbox, commit).await.expect_err("the version is another");
        assert_eq!(error.kind(), StoreErrorKind::Conflict, "{error}");
    }
    let found = fixture.marks().load(&scope).await.expect("the store answers");
    assert_eq!(found, Some((marks.clone(), version)));
    let stored = stored(
        relay.commit(Record::Marks { scope: &scope, record: &marks, expected: Some(version) }, &rows).await,
    );
    assert_eq!(stored.waiting, 1, "a conflict left a row");
}

pub async fn rows_by_themselves_are_recorded_once_per_call(fixture: &Fixture) {
    let (relay, rows) = (Relay::first(fixture, LONG), rows(2));
    let record = Record::Alone { call: Uuid::now_v7(), near: "k" };
    let first = stored(relay.commit(record, &rows).await);
    assert_eq!(stored(relay.commit(record, &rows).await).waiting, 2, "it was one call");
    let other = relay.append("k", &rows).await;
    assert_eq!((other.slot, other.waiting), (first.slot, 4), "equal texts share a slot");
}

pub async fn a_slot_that_is_full_records_nothing(fixture: &Fixture) {
    let (mut relay, key) = (Relay::first(fixture, LONG), fixture.key("k"));
    relay.outbox.rows_max = 3;
    let held = own(fixture.claims(), &key, claim(LONG)).await;
    let outcome = replied("ok");
    let record = ending(&key, held.holder, &outcome);
    assert_eq!(relay.commit(record, &rows(4)).await, Committed::Full);
    let claimed = fixture.claims().claim(&key, claim(LONG)).await.expect("the store answers");
    assert!(matches!(claimed, Claimed::Busy { .. }), "{claimed:?}");
    assert_eq!(stored(relay.commit(record, &rows(3)).await).waiting, 3);
    relay.append("k", &[]).await;
}

pub async fn a_row_comes_back_as_it_was(fixture: &Fixture) {
    let relay = Relay::first(fixture, LONG);
    let bytes: Vec<u8> = (0..1024 * 1024).map(|at| (at % 251) as u8).collect();
    let rows: Vec<_> = [Vec::new(), vec![0, 0xff, b'\r', b'\n', 0x80], bytes]
        .map(|bytes| Row { id: Uuid::now_v7(), bytes: bytes.into() })
        .into();
    let slot = relay.append("k", &rows).await.slot;
    assert!(rows_in(&super::batch(relay.take(slot).await)) == rows, "other rows came back");
}

pub async fn of_many_who_complete_one_claim_one_records_its_rows(fixture: &Fixture) {
    let (first, second) = (Relay::first(fixture, LONG), Relay::second(fixture, LONG));
    let key = fixture.key("k");
    let mut holders = Vec::new();
    for _ in 0..8 {
        let held = own(fixture.claims(), &key, claim(LONG)).await;
        fixture.claims().release(&key, held.holder).await.expect("the store answers");
        holders.push(held.holder);
    }
    holders.push(own(fixture.claims(), &key, claim(LONG)).await.holder);
    let (outcome, row) = (replied("ok"), [row("x")]);
    let relays = [&first, &second];
    let race = holders.iter().enumerate().map(|(at, holder)| {
        let (outcome, row, key) = (&outcome, &row, &key);
        async move { relays[at % 2].commit(ending(key, *holder, outcome), row).await }
    });
    let ended = join_all(race).await;
    let recorded = ended.iter().filter(|committed| matches!(committed, Committed::Stored(_))).count();
    assert_eq!(recorded, 1, "{ended:?}");
    let slot = ended.iter().find_map(|committed| match committed {
        Committed::Stored(stored) => Some(stored.slot),
        _ => None,
    });
    assert_eq!(first.take(slot.expect("one was stored")).await.waiting, 1);
}

pub async fn writes_of_an_unknown_type_are_refused(fixture: &Fixture) {
    let relay = Relay::first(fixture, LONG);
    let writes = [Writes::new("these are no writes")];
    let error = relay.store.check(&writes[0], Beside::Text("k")).expect_err("nobody knows them");
    assert_eq!(error.kind(), StoreErrorKind::Refused, "{error}");
    let rows = rows(1);
    let record = Record::Alone { call: Uuid::now_v7(), near: "k" };
    let error = relay.store.commit(&relay.outbox, Commit { record, rows: &rows, writes: &writes }).await;
    assert_eq!(error.expect_err("nobody knows them").kind(), StoreErrorKind::Refused);
    assert_eq!(relay.append("k", &rows).await.waiting, 1, "a refused commit left a row");
}
