//! Waiting for somebody else's outcome.

use std::time::Duration;

use tokio::time::Instant;

use super::{Fixture, LONG, RETENTION, SHORT, claim, own, replied};

/// How long a waiter is willing to wait where it should not have to.
const WAIT: Duration = Duration::from_secs(30);
/// What counts as early then.
const EARLY: Duration = Duration::from_secs(5);

/// Runs `change` while the other connection waits for it, and sees that it did not wait to the end.
async fn waits_for(fixture: &Fixture, change: impl AsyncFn()) {
    let key = fixture.key("k");
    let other = fixture.other_claims();
    let started = Instant::now();
    futures_util::future::join(other.changed(&key, WAIT), change()).await;
    let waited = started.elapsed();
    assert!(waited < EARLY, "the change was noticed only after {waited:?}");
}

pub async fn a_waiter_returns_when_another_connection_completes(fixture: &Fixture) {
    let key = fixture.key("k");
    let holder = own(fixture.claims(), &key, claim(LONG)).await.holder;
    waits_for(fixture, async || {
        let stored = fixture.claims().complete(&key, holder, replied("ok"), RETENTION).await;
        assert!(stored.expect("the store answers"));
    })
    .await;
}

pub async fn a_waiter_returns_when_another_connection_releases(fixture: &Fixture) {
    let key = fixture.key("k");
    let holder = own(fixture.claims(), &key, claim(LONG)).await.holder;
    waits_for(fixture, async || {
        fixture.claims().release(&key, holder).await.expect("the store answers");
    })
    .await;
}

pub async fn a_waiter_returns_when_the_lease_runs_out(fixture: &Fixture) {
    own(fixture.claims(), &fixture.key("k"), claim(SHORT)).await;
    waits_for(fixture, async || {}).await;
}

pub async fn a_change_before_the_wait_is_not_missed(fixture: &Fixture) {
    let key = fixture.key("k");
    let holder = own(fixture.claims(), &key, claim(LONG)).await.holder;
    let stored = fixture.claims().complete(&key, holder, replied("ok"), RETENTION).await;
    assert!(stored.expect("the store answers"));
    waits_for(fixture, async || {}).await;
}

pub async fn a_waiter_returns_at_its_deadline(fixture: &Fixture) {
    let key = fixture.key("k");
    own(fixture.claims(), &key, claim(LONG)).await;
    let started = Instant::now();
    fixture.other_claims().changed(&key, Duration::from_millis(300)).await;
    let waited = started.elapsed();
    assert!(waited < EARLY, "nothing changed, and it waited for {waited:?} instead of 300 ms");
}
