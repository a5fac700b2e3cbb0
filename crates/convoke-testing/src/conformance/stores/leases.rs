//! Leases and fences.
//!
//! Time is the store's: a test waits for a lease of another key, claimed no earlier, to run out.

use std::time::Duration;

use convoke_core::{ClaimKey, Claimed, Holder};

use super::{Fixture, LONG, Owned, RETENTION, SHORT, claim, own, owned, replied};
use crate::eventually;

/// Claims as a new owner until that works.
async fn take_over(fixture: &Fixture, key: &ClaimKey) -> Owned {
    eventually("the lease ran out", async || {
        let wish = claim(LONG);
        let claimed = fixture.other_claims().claim(key, wish).await.expect("the store answers");
        owned(wish, claimed)
    })
    .await
}

pub async fn an_expired_lease_lets_another_own_under_the_first_message_id(fixture: &Fixture) {
    let key = fixture.key("k");
    let first = own(fixture.claims(), &key, claim(SHORT)).await;
    let second = take_over(fixture, &key).await;
    assert!(second.holder.fence > first.holder.fence, "{second:?} after {first:?}");
    assert_eq!((second.attempt, second.message_id), (2, first.message_id));
}

pub async fn a_fenced_holder_changes_nothing(fixture: &Fixture) {
    let key = fixture.key("k");
    let store = fixture.claims();
    let first = own(store, &key, claim(SHORT)).await;
    let second = take_over(fixture, &key).await;

    assert!(!store.renew(&key, first.holder, LONG).await.expect("the store answers"), "renew");
    let stored = store.complete(&key, first.holder, replied("first"), RETENTION).await;
    assert!(!stored.expect("the store answers"), "complete");
    store.release(&key, first.holder).await.expect("the store answers");
    let claimed = store.claim(&key, claim(LONG)).await.expect("the store answers");
    assert!(matches!(claimed, Claimed::Busy { .. }), "the second holder lost the key: {claimed:?}");

    let stored = store.complete(&key, second.holder, replied("second"), RETENTION).await;
    assert!(stored.expect("the store answers"));
    let stored = store.complete(&key, first.holder, replied("first"), RETENTION).await;
    assert!(!stored.expect("the store answers"), "complete behind the completion");
    let claimed = store.claim(&key, claim(LONG)).await.expect("the store answers");
    assert_eq!(claimed, Claimed::Done(replied("second")));
}

pub async fn a_holder_with_another_fence_than_the_latest_changes_nothing(fixture: &Fixture) {
    let key = fixture.key("k");
    let store = fixture.claims();
    let holder = own(store, &key, claim(LONG)).await.holder;
    for fence in [holder.fence - 1, holder.fence + 1] {
        let other = Holder { fence, ..holder };
        assert!(!store.renew(&key, other, LONG * 10).await.expect("the store answers"), "renew");
        let stored = store.complete(&key, other, replied("other"), RETENTION).await;
        assert!(!stored.expect("the store answers"), "complete");
        store.release(&key, other).await.expect("the store answers");
    }
    let claimed = store.claim(&key, claim(LONG)).await.expect("the store answers");
    assert!(matches!(claimed, Claimed::Busy { remaining } if remaining <= LONG), "{claimed:?}");
    assert!(store.complete(&key, holder, replied("ok"), RETENTION).await.expect("the store answers"));
}

pub async fn a_renewed_lease_holds_longer(fixture: &Fixture) {
    let (key, clock) = (fixture.key("renewed"), fixture.key("clock"));
    let store = fixture.claims();
    // Long enough for the renewal to come in time on a busy machine.
    let lease = SHORT * 4;
    let first = own(store, &key, claim(lease)).await;
    assert!(store.renew(&key, first.holder, LONG).await.expect("the store answers"));
    own(store, &clock, claim(lease)).await;
    take_over(fixture, &clock).await;
    let claimed = fixture.other_claims().claim(&key, claim(LONG)).await.expect("the store answers");
    let Claimed::Busy { remaining } = claimed else { panic!("{claimed:?}") };
    assert!(remaining > LONG / 2 && remaining <= LONG, "{remaining:?} of {LONG:?}");
}

pub async fn a_completed_or_released_claim_cannot_be_renewed(fixture: &Fixture) {
    let store = fixture.claims();
    for completed in [true, false] {
        let key = fixture.key(if completed { "completed" } else { "released" });
        let holder = own(store, &key, claim(LONG)).await.holder;
        if completed {
            assert!(store.complete(&key, holder, replied("ok"), RETENTION).await.expect("the store answers"));
        } else {
            store.release(&key, holder).await.expect("the store answers");
        }
        assert!(!store.renew(&key, holder, LONG).await.expect("the store answers"), "completed: {completed}");
    }
}

pub async fn fences_grow_over_the_expiry_of_a_record(fixture: &Fixture) {
    let key = fixture.key("k");
    let first = own(fixture.claims(), &key, claim(LONG)).await;
    // The shortest that every store can keep.
    let retention = Duration::from_secs(1);
    let stored = fixture.claims().complete(&key, first.holder, replied("ok"), retention).await;
    assert!(stored.expect("the store answers"));
    let next = take_over(fixture, &key).await;
    assert_eq!(next.attempt, 1, "the record is gone, so this is a new one");
    assert_ne!(next.message_id, first.message_id);
    assert!(next.holder.fence > first.holder.fence, "{next:?} after {first:?}");
}
