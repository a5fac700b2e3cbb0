use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::{Guard, Lock, Locks, NAME_BYTES_MAX, TTL_MAX, TTL_MIN, table::Answer};
use crate::{
    Error, ErrorKind,
    kv::{Kv, Machine, Write},
    test_node::{Fault, TestNode},
};

const SECOND: Duration = Duration::from_secs(1);
const TTL: Duration = Duration::from_secs(6);

fn start() -> (Arc<TestNode<Machine>>, Locks) {
    let node = TestNode::start(Machine::default());
    let locks = Locks::new(node.clone(), node.state().clone());
    (node, locks)
}

fn nightly(locks: &Locks) -> Lock {
    locks.lock("nightly").ttl(TTL)
}

async fn held(locks: &Locks) -> Guard {
    nightly(locks).acquire(SECOND).await.unwrap()
}

fn kind<T>(result: Result<T, Error>) -> ErrorKind {
    result.err().expect("it cannot have succeeded").kind()
}

/// A holder, or one who waits, that dies right after it asked.
async fn dies(locks: &Locks, ttl: Duration) -> Answer {
    locks.acquire("nightly", Uuid::now_v7(), ttl, true, Instant::now() + SECOND).await.unwrap()
}

/// How long somebody else waits for the lock now.
async fn wait_for(locks: &Locks) -> (Guard, Duration) {
    let begun = Instant::now();
    let guard = nightly(locks).acquire(60 * SECOND).await.unwrap();
    (guard, begun.elapsed())
}

#[tokio::test(start_paused = true)]
async fn one_holds_it_and_the_others_follow_in_the_order_of_asking_with_growing_fences() {
    let (_node, locks) = start();
    let first = held(&locks).await;
    let (order, mut ends) = tokio::sync::mpsc::unbounded_channel();
    for number in 0..4 {
        let (locks, order) = (locks.clone(), order.clone());
        tokio::spawn(async move {
            let guard = nightly(&locks).acquire(60 * SECOND).await.unwrap();
            order.send((number, guard.fence())).unwrap();
            sleep(SECOND).await;
            assert!(guard.is_valid());
            guard.release().await.unwrap();
        });
        // Each asks before the next one begins.
        sleep(SECOND / 10).await;
    }
    let mut fence = first.fence();
    sleep(SECOND).await;
    assert!(ends.try_recv().is_err());
    drop(first);
    for expected in 0..4 {
        let (number, next) = ends.recv().await.unwrap();
        assert_eq!(number, expected);
        assert!(next > fence, "{next} after {fence}");
        fence = next;
    }
}

#[tokio::test(start_paused = true)]
async fn who_only_tries_is_told_at_once() {
    let (node, locks) = start();
    let guard = nightly(&locks).try_acquire().await.unwrap().expect("it is free");
    let begun = Instant::now();
    let entries = node.index();
    assert!(nightly(&locks).try_acquire().await.unwrap().is_none());
    assert_eq!(begun.elapsed(), Duration::ZERO);
    sleep(SECOND).await;
    assert_eq!(node.index(), entries + 1, "there is nothing to take back");
    guard.release().await.unwrap();
    assert!(nightly(&locks).try_acquire().await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn it_is_renewed_for_as_long_as_it_is_held() {
    let (_node, locks) = start();
    let guard = held(&locks).await;
    let fence = guard.fence();
    for _ in 0..100 {
        sleep(TTL / 3).await;
        assert!(guard.is_valid());
    }
    assert!(nightly(&locks).try_acquire().await.unwrap().is_none());
    assert_eq!(guard.fence(), fence);
}

#[tokio::test(start_paused = true)]
async fn it_is_given_back_when_the_guard_is_dropped_or_released_and_only_once() {
    let (node, locks) = start();
    drop(held(&locks).await);
    let (guard, waited) = wait_for(&locks).await;
    assert!(waited < SECOND, "{waited:?}");
    guard.release().await.unwrap();
    let entries = node.index();
    sleep(20 * SECOND).await;
    assert_eq!(node.index(), entries, "nothing is renewed or given back any more");
}

#[tokio::test(start_paused = true)]
async fn a_release_that_nobody_waits_for_goes_on_in_the_background() {
    let (node, locks) = start();
    let guard = held(&locks).await;
    let lost = guard.lost();
    node.fault(Fault::NoLeader);
    assert!(timeout(SECOND, guard.release()).await.is_err());
    timeout(SECOND, lost).await.expect("it is no longer held, as far as we are concerned");
    node.fault(Fault::None);
    let (_guard, waited) = wait_for(&locks).await;
    assert!(waited < SECOND, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn the_lock_of_a_dead_holder_goes_to_the_next_when_its_lease_ends() {
    let (_node, locks) = start();
    assert!(matches!(dies(&locks, TTL).await, Answer::Granted { .. }));
    let (guard, waited) = wait_for(&locks).await;
    assert!(waited >= TTL && waited < TTL + SECOND, "{waited:?}");
    assert!(guard.is_valid());
}

#[tokio::test(start_paused = true)]
async fn one_who_died_waiting_holds_up_nobody() {
    let (_node, locks) = start();
    let guard = held(&locks).await;
    assert!(matches!(dies(&locks, SECOND).await, Answer::Queued { ahead: 0 }));
    sleep(2 * SECOND).await;
    let waiting = tokio::spawn({
        let locks = locks.clone();
        async move { wait_for(&locks).await.1 }
    });
    sleep(SECOND).await;
    guard.release().await.unwrap();
    let waited = timeout(2 * SECOND, waiting).await.expect("it is next").unwrap();
    assert!(waited < 2 * SECOND, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn who_waits_longer_than_a_lease_keeps_its_place() {
    let (_node, locks) = start();
    let guard = held(&locks).await;
    let waiting = tokio::spawn({
        let locks = locks.clone();
        async move { nightly(&locks).acquire(600 * SECOND).await.unwrap() }
    });
    sleep(10 * TTL).await;
    let later = tokio::spawn({
        let locks = locks.clone();
        async move { nightly(&locks).acquire(600 * SECOND).await.unwrap() }
    });
    sleep(SECOND).await;
    guard.release().await.unwrap();
    let guard = timeout(SECOND, waiting).await.expect("the first in the queue").unwrap();
    assert!(guard.is_valid() && !later.is_finished());
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_waiting_is_told_who_is_to_blame_and_leaves_the_queue() {
    let (_node, locks) = start();
    let guard = held(&locks).await;
    let begun = Instant::now();
    assert_eq!(kind(nightly(&locks).acquire(20 * SECOND).await), ErrorKind::Held);
    assert!(begun.elapsed() < 21 * SECOND);
    // One whose future is dropped, too.
    assert!(timeout(SECOND, nightly(&locks).acquire(60 * SECOND)).await.is_err());
    sleep(SECOND).await;
    guard.release().await.unwrap();
    assert!(nightly(&locks).try_acquire().await.unwrap().is_some(), "nobody is left in the queue");
}

#[tokio::test(start_paused = true)]
async fn it_survives_a_change_of_leaders_that_is_shorter_than_its_lease() {
    let (node, locks) = start();
    let guard = held(&locks).await;
    for _ in 0..5 {
        node.fault(Fault::NoLeader);
        sleep(TTL / 2).await;
        node.new_leader(0);
        node.fault(Fault::None);
        sleep(TTL / 2).await;
        assert!(guard.is_valid());
    }
    assert!(nightly(&locks).try_acquire().await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn it_is_lost_when_it_is_not_renewed_for_its_lease_and_never_valid_again() {
    let (node, locks) = start();
    let begun = Instant::now();
    let guard = held(&locks).await;
    node.fault(Fault::NoLeader);
    let lost = tokio::spawn(guard.lost());
    sleep(TTL - SECOND / 10).await;
    assert!(guard.is_valid() && !lost.is_finished());
    timeout(SECOND, lost).await.expect("its lease ended").unwrap();
    assert_eq!(begun.elapsed().as_millis() / 10, TTL.as_millis() / 10);
    assert!(!guard.is_valid());
    node.fault(Fault::None);
    let (next, waited) = wait_for(&locks).await;
    assert!(waited < SECOND, "{waited:?}");
    sleep(2 * TTL).await;
    assert!(!guard.is_valid() && next.is_valid() && next.fence() > guard.fence());
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_was_not_answered_does_not_count() {
    let (node, locks) = start();
    let guard = held(&locks).await;
    // The renewal is applied and nobody hears of it: we know of the lease before it only.
    node.fault(Fault::AnswersLost);
    sleep(TTL + SECOND / 10).await;
    assert!(!guard.is_valid());
    node.fault(Fault::None);
    let (_next, waited) = wait_for(&locks).await;
    assert!(waited < SECOND, "what we lost is given back: {waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lease_counts_from_the_question_not_from_the_answer() {
    let (node, locks) = start();
    node.fault(Fault::Slow);
    let begun = Instant::now();
    let guard = nightly(&locks).acquire(2 * SECOND).await.unwrap();
    assert!(begun.elapsed() >= SECOND);
    // The first renewal is sent at a third of the lease and answered a second later.
    sleep(TTL / 3 + SECOND / 2).await;
    node.fault(Fault::NoLeader);
    guard.lost().await;
    assert_eq!(begun.elapsed().as_millis() / 10, (TTL / 3 + TTL).as_millis() / 10);
    assert!(begun.elapsed() < TTL + TTL, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_acquisition_that_was_not_answered_is_taken_back() {
    let (node, locks) = start();
    node.fault(Fault::AnswersLost);
    assert_eq!(kind(nightly(&locks).acquire(SECOND).await), ErrorKind::TimedOut);
    node.fault(Fault::None);
    sleep(SECOND / 2).await;
    assert!(nightly(&locks).try_acquire().await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn what_is_beyond_the_limits_is_refused_with_the_limits_before_anything_is_proposed() {
    let (node, locks) = start();
    for ttl in [TTL_MIN - SECOND / 1000, TTL_MAX + SECOND / 1000] {
        let err = locks.lock("a").ttl(ttl).acquire(SECOND).await.unwrap_err();
        assert_eq!(err.kind(), ErrorKind::Refused);
        assert!(err.to_string().contains("from 1s to 3600s"), "{err}");
        assert_eq!(kind(locks.lock("a").ttl(ttl).try_acquire().await), ErrorKind::Refused);
    }
    for name in [String::new(), "n".repeat(NAME_BYTES_MAX + 1)] {
        assert_eq!(kind(locks.lock(name).acquire(SECOND).await), ErrorKind::Refused);
    }
    assert_eq!(node.index(), 0);
    for ttl in [TTL_MIN, TTL_MAX] {
        locks
            .lock("n".repeat(NAME_BYTES_MAX))
            .ttl(ttl)
            .acquire(SECOND)
            .await
            .unwrap()
            .release()
            .await
            .unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_at_once() {
    let (_node, locks) = start();
    for _ in 0..=super::WAITERS_MAX {
        dies(&locks, TTL_MAX).await;
    }
    let begun = Instant::now();
    assert_eq!(kind(nightly(&locks).acquire(SECOND).await), ErrorKind::Overloaded);
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn who_believes_to_hold_what_another_got_writes_nothing() {
    let (node, locks) = start();
    let kv = Kv::new(node.clone(), node.state().clone());
    let old = held(&locks).await;
    old.fenced_write(&kv, Write::put("report", "first")).await.unwrap();
    // The leader's clock is set while it leads, which ends the lease early: nobody else can know.
    node.set_clock(60_000);
    let new = nightly(&locks).acquire(SECOND).await.unwrap();
    let version = new.fenced_write(&kv, Write::put("report", "second")).await.unwrap();
    assert!(old.is_valid(), "as far as it knows");
    let late = old.fenced_write(&kv, Write::delete("report")).await;
    assert_eq!(kind(late), ErrorKind::Fenced { newest: new.fence() });
    assert_eq!(kv.get("report").await.unwrap().unwrap().version, version);
}

#[tokio::test(start_paused = true)]
async fn who_knows_that_it_lost_the_lock_does_not_ask_the_store() {
    let (node, locks) = start();
    let kv = Kv::new(node.clone(), node.state().clone());
    let guard = held(&locks).await;
    node.fault(Fault::NoLeader);
    sleep(TTL + SECOND).await;
    node.fault(Fault::None);
    sleep(SECOND).await;
    let entries = node.index();
    assert_eq!(kind(guard.fenced_write(&kv, Write::put("report", "late")).await), ErrorKind::Lost);
    assert_eq!(node.index(), entries);
}

#[tokio::test(start_paused = true)]
async fn leaders_whose_clocks_differ_neither_end_a_lease_early_nor_keep_a_dead_one() {
    let (node, locks) = start();
    let guard = held(&locks).await;
    for ahead_ms in [60_000, -3_600_000, 0, 86_400_000] {
        node.new_leader(ahead_ms);
        sleep(SECOND).await;
        assert!(nightly(&locks).try_acquire().await.unwrap().is_none(), "{ahead_ms}");
        assert!(guard.is_valid());
    }
    guard.release().await.unwrap();
    dies(&locks, TTL).await;
    node.new_leader(-3_600_000);
    let (_guard, waited) = wait_for(&locks).await;
    assert!(waited >= TTL && waited < TTL + SECOND, "{waited:?}");
}
