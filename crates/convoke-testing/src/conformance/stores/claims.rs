//! Claiming and completing.

use std::collections::HashSet;

use convoke_core::{Claim, ClaimKey, Claimed, StoreErrorKind, StoredOutcome};
use futures_util::future::join_all;
use uuid::Uuid;

use super::{Fixture, LONG, RETENTION, claim, own, owned, replied};

pub async fn the_first_claim_owns_with_a_fence_as_attempt_one(fixture: &Fixture) {
    let wish = claim(LONG);
    let first = own(fixture.claims(), &fixture.key("k"), wish).await;
    assert_eq!((first.attempt, first.message_id), (1, wish.message_id));
    assert!(first.holder.fence > 0, "a fence of 0 is below every other");
}

pub async fn a_repeated_claim_of_the_owner_is_answered_as_the_first_one(fixture: &Fixture) {
    let (key, wish) = (fixture.key("k"), claim(LONG));
    let first = own(fixture.claims(), &key, wish).await;
    assert_eq!(own(fixture.claims(), &key, wish).await, first);
    assert_eq!(own(&*fixture.other_claims(), &key, wish).await, first, "over another connection");
}

pub async fn another_owner_is_told_busy_and_for_how_long(fixture: &Fixture) {
    let key = fixture.key("k");
    own(fixture.claims(), &key, claim(LONG)).await;
    let claimed = fixture.other_claims().claim(&key, claim(LONG)).await.expect("the store answers");
    let Claimed::Busy { remaining } = claimed else { panic!("{claimed:?}") };
    assert!(!remaining.is_zero() && remaining <= LONG, "{remaining:?} of {LONG:?}");
    assert!(remaining > LONG / 2, "only {remaining:?} of {LONG:?} left at once");
}

pub async fn another_payload_is_a_mismatch_while_it_runs_and_when_it_is_done(fixture: &Fixture) {
    let key = fixture.key("k");
    let wish = claim(LONG);
    let first = own(fixture.claims(), &key, wish).await;
    // They differ in one bit, once in the upper and once in the lower half.
    let others = [wish.fingerprint ^ 1, wish.fingerprint ^ (1 << 127)];
    for done in [false, true] {
        if done {
            let stored = fixture.claims().complete(&key, first.holder, replied("ok"), RETENTION).await;
            assert!(stored.expect("the store answers"));
        }
        for fingerprint in others {
            let other = Claim { fingerprint, ..claim(LONG) };
            let claimed = fixture.other_claims().claim(&key, other).await.expect("the store answers");
            assert_eq!(claimed, Claimed::Mismatch, "done: {done}");
        }
    }
}

pub async fn a_completed_key_answers_its_reply_or_its_refusal(fixture: &Fixture) {
    for rejected in [false, true] {
        let key = fixture.key(if rejected { "rejected" } else { "replied" });
        let outcome = StoredOutcome { rejected, answer: vec![0, 0xff, b'\r', b'\n', 0x80].into() };
        check_replay(fixture, &key, outcome).await;
    }
}

pub async fn an_answer_may_be_empty_and_as_large_as_the_limit(fixture: &Fixture) {
    for len in [0, StoredOutcome::BYTES_MAX] {
        let answer: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
        check_replay(fixture, &fixture.key(&len.to_string()), replied(answer)).await;
    }
}

async fn check_replay(fixture: &Fixture, key: &ClaimKey, outcome: StoredOutcome) {
    let first = own(fixture.claims(), key, claim(LONG)).await;
    let stored = fixture.claims().complete(key, first.holder, outcome.clone(), RETENTION).await;
    assert!(stored.expect("the store answers"));
    for store in [&fixture.stores.claims, &fixture.second.claims] {
        let claimed = store.claim(key, claim(LONG)).await.expect("the store answers");
        assert!(claimed == Claimed::Done(outcome.clone()), "another outcome came back");
    }
}

pub async fn an_answer_above_the_limit_is_refused_and_nothing_is_stored(fixture: &Fixture) {
    let key = fixture.key("k");
    let first = own(fixture.claims(), &key, claim(LONG)).await;
    let large = replied(vec![0; StoredOutcome::BYTES_MAX + 1]);
    let error = fixture.claims().complete(&key, first.holder, large, RETENTION).await;
    assert_eq!(error.expect_err("it is too large").kind(), StoreErrorKind::Refused);
    let claimed = fixture.claims().claim(&key, claim(LONG)).await.expect("the store answers");
    assert!(matches!(claimed, Claimed::Busy { .. }), "{claimed:?}");
}

pub async fn a_repeated_complete_of_the_owner_is_true(fixture: &Fixture) {
    let key = fixture.key("k");
    let first = own(fixture.claims(), &key, claim(LONG)).await;
    for store in [&fixture.stores.claims, &fixture.stores.claims, &fixture.second.claims] {
        let stored = store.complete(&key, first.holder, replied("ok"), RETENTION).await;
        assert!(stored.expect("the store answers"));
    }
}

pub async fn a_released_key_is_claimed_at_once_with_a_higher_fence(fixture: &Fixture) {
    let key = fixture.key("k");
    let mut last = own(fixture.claims(), &key, claim(LONG)).await;
    let message_id = last.message_id;
    for attempt in 2..=4 {
        fixture.claims().release(&key, last.holder).await.expect("the store answers");
        // What was released stays so, however often that is said.
        fixture.claims().release(&key, last.holder).await.expect("the store answers");
        let next = own(&*fixture.other_claims(), &key, claim(LONG)).await;
        assert!(next.holder.fence > last.holder.fence, "{next:?} after {last:?}");
        assert_eq!((next.attempt, next.message_id), (attempt, message_id));
        last = next;
    }
}

pub async fn one_of_fifty_owners_at_once_gets_the_key(fixture: &Fixture) {
    for round in 0..4 {
        let key = fixture.key(&format!("round-{round}"));
        let stores = [fixture.other_claims(), fixture.stores.claims.clone()];
        let race = (0..50).map(|at| {
            let (store, key) = (stores[at % 2].clone(), key.clone());
            tokio::spawn(async move { store.claim(&key, claim(LONG)).await.expect("the store answers") })
        });
        let mut winners = 0;
        for claimed in join_all(race).await {
            match claimed.expect("no task panics") {
                Claimed::Owned { .. } => winners += 1,
                Claimed::Busy { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(winners, 1);
    }
}

/// Every pair of these is another record.
fn spellings(fixture: &Fixture) -> Vec<ClaimKey> {
    let long = |last: &str| format!("{}{last}", "k".repeat(255 - last.len()));
    let keys = [
        "a", "A", "b", ".", "..", "a.b", ".a", "a.", "a:b", ":", "a-b", "a_b", "a/b", "/", "*", ">", "a.>",
        "a.*", "{", "}", "{}", "{a}", "{b}", "}{", "$", "$KV.a", "=", "YQ==", "YQ", "61", "%", "%61", "%2E",
        "=2E", "\\", "\\n", "'", "\"", "`", "#", "?", "[a]", "a|b", "a,b", "~", "0", "00",
    ];
    let keys = keys.map(String::from).into_iter().chain([long(""), long("}"), long("."), "{".repeat(255)]);
    let mut all: Vec<_> = keys.map(|key| fixture.key(&key)).collect();
    for (scope, key) in
        [("a:b", "c"), ("a", "b:c"), ("a.b", "c"), ("a", "b.c"), ("a-b", "c"), ("a_b", "c"), ("ab", "c")]
    {
        all.push(ClaimKey { scope: fixture.scope(scope), key: key.into() });
    }
    all
}

pub async fn keys_and_scopes_of_any_spelling_are_told_apart(fixture: &Fixture) {
    let keys = spellings(fixture);
    assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len(), "the list itself has no doubles");
    let mut ids = Vec::new();
    for key in &keys {
        let wish = Claim { fingerprint: Uuid::now_v7().as_u128(), ..claim(LONG) };
        let claimed = fixture.claims().claim(key, wish).await.expect("the store answers");
        let first =
            owned(wish, claimed).unwrap_or_else(|other| panic!("{key:?} is taken by another: {other:?}"));
        let stored = fixture.claims().complete(key, first.holder, replied(key.key.clone()), RETENTION).await;
        assert!(stored.expect("the store answers"), "{key:?}");
        ids.push(wish);
    }
    for (key, wish) in keys.iter().zip(ids) {
        let again = Claim { owner: Uuid::now_v7(), ..wish };
        let claimed = fixture.other_claims().claim(key, again).await.expect("the store answers");
        assert_eq!(claimed, Claimed::Done(replied(key.key.clone())), "{key:?}");
    }
}

pub async fn a_store_that_is_up_answers_a_ping(fixture: &Fixture) {
    fixture.claims().ping().await.expect("the store answers");
    assert!(!fixture.claims().name().is_empty());
}
