use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use convoke_core::Executed;
use tokio::time::{Instant, sleep, timeout};

use super::{
    CHANGES_MAX, Change, Expected, KEY_BYTES_MAX, Kv, Lagged, Machine, PAGE_MAX, SCOPE_BYTES_MAX, Swap,
    TIMEOUT, VALUE_BYTES_MAX, Watch,
};
use crate::{
    Consistency, Error, ErrorKind,
    test_node::{Fault, TestNode},
};

const SECOND: Duration = Duration::from_secs(1);

fn start() -> (Arc<TestNode<Machine>>, Kv) {
    let node = TestNode::start(Machine::default());
    let kv = Kv::new(node.clone(), node.state().clone());
    (node, kv)
}

async fn text(kv: &Kv, key: &str) -> Option<String> {
    let value = kv.get(key).await.unwrap()?;
    Some(String::from_utf8(value.bytes.to_vec()).unwrap())
}

fn kind<T>(result: Result<T, Error>) -> ErrorKind {
    result.err().expect("it cannot have succeeded").kind()
}

#[tokio::test(start_paused = true)]
async fn what_was_written_is_read_with_the_version_that_its_writer_was_told() {
    let (_node, kv) = start();
    let version = kv.put("a", "1").await.unwrap();
    let value = kv.get("a").await.unwrap().unwrap();
    assert_eq!((value.bytes, value.version, value.remaining), (Bytes::from("1"), version, None));
    assert!(kv.delete("a").await.unwrap());
    assert!(!kv.delete("a").await.unwrap());
    assert_eq!(kv.get("a").await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn of_many_who_swap_one_wins_each_time_and_no_step_is_lost() {
    let (_node, kv) = start();
    let add = async |kv: Kv| loop {
        let before = kv.get("n").await.unwrap();
        let number = before.as_ref().map_or(0, |value| value.bytes[0]);
        let expected = before.map(|value| value.version);
        if kv.compare_and_swap("n", expected, vec![number + 1]).await.unwrap().is_done() {
            return;
        }
    };
    futures_util::future::join_all((0..20).map(|_| add(kv.clone()))).await;
    assert_eq!(kv.get("n").await.unwrap().unwrap().bytes[..], [20]);
}

#[tokio::test(start_paused = true)]
async fn a_condition_that_does_not_hold_tells_what_is_there() {
    let (_node, kv) = start();
    let version = kv.put("a", "1").await.unwrap();
    let conflict = Swap::Conflict { current: Some(version) };
    assert_eq!(kv.compare_and_swap("a", Expected::Absent, "2").await.unwrap(), conflict);
    assert_eq!(kv.compare_and_delete("a", version + 1).await.unwrap(), conflict);
    assert!(kv.compare_and_delete("a", version).await.unwrap().is_done());
    assert_eq!(kv.compare_and_swap("a", version, "2").await.unwrap(), Swap::Conflict { current: None });
}

#[tokio::test(start_paused = true)]
async fn a_lifetime_ends_when_nothing_else_happens() {
    let (node, kv) = start();
    kv.put("a", "1").ttl(Duration::from_millis(1_500)).await.unwrap();
    kv.compare_and_swap("b", Expected::Absent, "1")
        .ttl(SECOND)
        .await
        .unwrap()
        .is_done()
        .then_some(())
        .unwrap();
    sleep(Duration::from_millis(1_490)).await;
    assert_eq!((text(&kv, "a").await.as_deref(), text(&kv, "b").await), (Some("1"), None));
    sleep(Duration::from_millis(20)).await;
    assert_eq!(kv.get("a").eventual().await.unwrap(), None);
    assert_eq!(node.state().read().unwrap().next_expiry_ms(1), None, "both are removed");
}

#[tokio::test(start_paused = true)]
async fn leaders_whose_clocks_differ_end_no_lifetime_early_and_keep_none_longer_than_its_length() {
    let (node, kv) = start();
    kv.put("a", "1").ttl(5 * SECOND).await.unwrap();
    for ahead_ms in [60_000, -3_600_000] {
        node.new_leader(ahead_ms);
        sleep(2 * SECOND).await;
        let value = kv.get("a").await.unwrap().expect("it is not over");
        assert!(value.remaining.is_some_and(|left| left <= 5 * SECOND), "{value:?}");
    }
    sleep(3 * SECOND + SECOND / 10).await;
    assert_eq!(kv.get("a").await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn without_a_leader_only_an_eventual_read_is_answered_and_the_others_say_so_in_time() {
    let (node, kv) = start();
    kv.put("a", "1").await.unwrap();
    node.fault(Fault::NoLeader);
    let begun = Instant::now();
    assert!(kv.get("a").eventual().await.unwrap().is_some());
    assert!(kv.scan("a").eventual().await.is_ok());
    let eventual = kv.clone().consistency(Consistency::Eventual);
    assert!(eventual.get("a").await.is_ok() && eventual.scan("a").await.is_ok(), "as they are set to be");
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(kind(eventual.get("a").linearizable().timeout(SECOND).await), ErrorKind::NoLeader);
    assert_eq!(kind(kv.get("a").timeout(SECOND).await), ErrorKind::NoLeader);
    assert_eq!(kind(kv.get("a").lease().timeout(SECOND).await), ErrorKind::NoLeader);
    assert_eq!(kind(kv.scan("a").timeout(SECOND).await), ErrorKind::NoLeader);
    assert_eq!(kind(kv.watch("a").timeout(SECOND).await), ErrorKind::NoLeader);
    let err = kv.put("a", "2").timeout(SECOND).await.unwrap_err();
    assert_eq!((err.kind(), err.executed()), (ErrorKind::NoLeader, Executed::No));
    assert!(begun.elapsed() <= 6 * SECOND + SECOND / 10, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_change_of_leaders_within_the_timeout_is_not_noticed() {
    let (node, kv) = start();
    node.fault(Fault::NoLeader);
    let (put, ()) = tokio::join!(kv.put("a", "1").into_future(), async {
        sleep(SECOND).await;
        node.fault(Fault::None);
    });
    assert_eq!(kv.get("a").await.unwrap().unwrap().version, put.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_answer_was_lost_may_have_been_made_and_says_so() {
    let (node, kv) = start();
    node.fault(Fault::AnswersLost);
    let begun = Instant::now();
    let err = kv.put("a", "1").await.unwrap_err();
    assert_eq!((err.kind(), err.executed()), (ErrorKind::TimedOut, Executed::Unknown));
    assert_eq!(begun.elapsed().as_secs(), TIMEOUT.as_secs());
    node.fault(Fault::None);
    assert_eq!(text(&kv, "a").await.as_deref(), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_repeated_is_made_once_and_answered_as_the_first_time() {
    let (node, kv) = start();
    node.fault(Fault::Twice);
    assert_eq!(kv.compare_and_swap("a", Expected::Absent, "1").await.unwrap(), Swap::Done { version: 1 });
    assert_eq!(kv.get("a").await.unwrap().unwrap().version, 1);
    assert!(kv.delete("a").await.unwrap(), "the second time it was not there");
    node.fault(Fault::Forgets);
    let err = kv.put("a", "1").await.unwrap_err();
    assert_eq!((err.kind(), err.executed()), (ErrorKind::Forgotten, Executed::Unknown));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_answers_nothing_does_not_hold_a_caller_beyond_its_deadline() {
    let (node, kv) = start();
    node.fault(Fault::Hangs);
    let begun = Instant::now();
    let kv = kv.timeout(SECOND);
    assert_eq!(kind(kv.put("a", "1").await), ErrorKind::TimedOut);
    assert_eq!(kind(kv.get("a").await), ErrorKind::NoQuorum);
    assert!(begun.elapsed() < 3 * SECOND, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_breaks_a_limit_is_refused_before_anything_is_proposed() {
    let (node, kv) = start();
    let long = |bytes: usize| "x".repeat(bytes);
    let too_large = |bytes: usize| ErrorKind::TooLarge { bytes: bytes as u64 + 1, bytes_max: bytes as u64 };
    assert_eq!(kind(kv.put(long(KEY_BYTES_MAX + 1), "v").await), too_large(KEY_BYTES_MAX));
    assert_eq!(kind(kv.put("a", long(VALUE_BYTES_MAX + 1)).await), too_large(VALUE_BYTES_MAX));
    assert_eq!(kind(kv.delete(long(KEY_BYTES_MAX + 1)).await), too_large(KEY_BYTES_MAX));
    assert_eq!(kind(kv.put("a", "v").fence(&long(SCOPE_BYTES_MAX + 1), 1).await), too_large(SCOPE_BYTES_MAX));
    assert_eq!(kind(kv.put("", "v").await), ErrorKind::Refused);
    assert_eq!(kind(kv.put("a", "v").ttl(Duration::ZERO).await), ErrorKind::Refused);
    assert_eq!(kind(kv.scan("a").limit(0).await), ErrorKind::Refused);
    assert_eq!(kind(kv.scan("a").limit(PAGE_MAX + 1).await), ErrorKind::Refused);
    assert_eq!(node.index(), 0);
    let err = kv.put("a", long(VALUE_BYTES_MAX + 1)).await.unwrap_err();
    assert!(err.to_string().contains(&format!("{VALUE_BYTES_MAX} are the most")), "{err}");
    assert!(kv.put("a", "v").ttl(Duration::from_nanos(1)).await.is_ok(), "a lifetime is rounded up");
}

#[tokio::test(start_paused = true)]
async fn a_full_store_says_so() {
    let node = TestNode::start(Machine::with_bytes_max(3));
    let kv = Kv::new(node.clone(), node.state().clone());
    let err = kv.put("a", "123").await.unwrap_err();
    assert_eq!((err.kind(), err.executed()), (ErrorKind::Full, Executed::No));
    assert!(kv.put("a", "12").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_write_behind_a_newer_fence_is_refused() {
    let (_node, kv) = start();
    kv.put("a", "new").fence("nightly", 8).await.unwrap();
    assert_eq!(kind(kv.put("b", "old").fence("nightly", 7).await), ErrorKind::Fenced { newest: 8 });
    assert_eq!(kind(kv.delete("a").fence("nightly", 7).await), ErrorKind::Fenced { newest: 8 });
    let old = kv.compare_and_swap("a", 1, "old").fence("nightly", 7).await;
    assert_eq!(kind(old), ErrorKind::Fenced { newest: 8 });
    assert_eq!(text(&kv, "a").await.as_deref(), Some("new"));
}

#[tokio::test(start_paused = true)]
async fn a_scan_goes_on_where_its_page_ended() {
    let (_node, kv) = start();
    for number in 0..5 {
        kv.put(format!("k/{number}"), "v").await.unwrap();
    }
    kv.put("l", "v").await.unwrap();
    let first = kv.scan("k/").limit(3).await.unwrap();
    let second = kv.scan("k/").limit(3).after(first.next.unwrap()).lease().await.unwrap();
    let keys: Vec<_> = first.entries.iter().chain(&second.entries).map(|(key, _)| key.clone()).collect();
    assert_eq!(keys, ["k/0", "k/1", "k/2", "k/3", "k/4"]);
    assert_eq!(second.next, None);
}

async fn told(watch: &mut Watch) -> String {
    match timeout(SECOND, watch.next()).await {
        Err(_) => "nothing".to_owned(),
        Ok(None) => "end".to_owned(),
        Ok(Some(Err(Lagged { after, until }))) => format!("lagged {after}-{until}"),
        Ok(Some(Ok(Change::Put { key, value }))) => {
            format!("{} = {}", String::from_utf8_lossy(&key), String::from_utf8_lossy(&value.bytes))
        }
        Ok(Some(Ok(Change::Deleted { key, .. }))) => format!("{} deleted", String::from_utf8_lossy(&key)),
        Ok(Some(Ok(Change::Expired { key, .. }))) => format!("{} expired", String::from_utf8_lossy(&key)),
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_tells_each_change_of_its_keys_from_its_start_on() {
    let (_node, kv) = start();
    kv.put("a/1", "before").await.unwrap();
    let mut watch = kv.watch("a/").await.unwrap();
    assert_eq!(told(&mut watch).await, "nothing");
    kv.put("a/1", "x").ttl(2 * SECOND).await.unwrap();
    kv.put("b", "not watched").await.unwrap();
    kv.put("a/2", "y").await.unwrap();
    kv.delete("a/2").await.unwrap();
    sleep(3 * SECOND).await;
    for expected in ["a/1 = x", "a/2 = y", "a/2 deleted", "a/1 expired", "nothing"] {
        assert_eq!(told(&mut watch).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_waits_is_woken_by_a_change() {
    let (_node, kv) = start();
    let mut watch = kv.watch("").await.unwrap();
    let waiting = tokio::spawn(async move { watch.next().await });
    tokio::task::yield_now().await;
    kv.put("a", "1").await.unwrap();
    let change = timeout(SECOND, waiting).await.expect("woken").unwrap().unwrap().unwrap();
    assert_eq!(change.key(), "a");
}

#[tokio::test(start_paused = true)]
async fn a_watch_may_begin_with_what_is_there_and_misses_nothing_after_it() {
    let (_node, kv) = start();
    kv.put("a/2", "1").await.unwrap();
    kv.put("a/1", "1").await.unwrap();
    kv.put("b", "1").await.unwrap();
    kv.put("a/3", "short").ttl(SECOND).await.unwrap();
    let mut watch = kv.watch("a/").with_state().await.unwrap();
    kv.put("a/1", "2").await.unwrap();
    for expected in ["a/1 = 1", "a/2 = 1", "a/3 = short", "a/1 = 2"] {
        assert_eq!(told(&mut watch).await, expected);
    }
    sleep(SECOND).await;
    assert_eq!(told(&mut watch).await, "a/3 expired");
}

#[tokio::test(start_paused = true)]
async fn a_watch_goes_on_behind_the_change_that_was_seen_last() {
    let (_node, kv) = start();
    kv.put("a", "1").await.unwrap();
    let seen = kv.put("a", "2").await.unwrap();
    kv.put("a", "3").await.unwrap();
    let mut watch = kv.watch("a").after(seen).await.unwrap();
    assert_eq!(told(&mut watch).await, "a = 3");
}

#[tokio::test(start_paused = true)]
async fn a_slow_watch_is_told_what_it_missed_and_goes_on() {
    let (_node, kv) = start();
    let begun = kv.put("a", "first").await.unwrap();
    let mut watch = kv.watch("").await.unwrap();
    for number in 0..CHANGES_MAX + 10 {
        kv.put("a", number.to_string()).await.unwrap();
    }
    let gone = begun + 10;
    assert_eq!(told(&mut watch).await, format!("lagged {begun}-{gone}"));
    for number in 10..CHANGES_MAX + 10 {
        assert_eq!(told(&mut watch).await, format!("a = {number}"));
    }
    assert_eq!(told(&mut watch).await, "nothing");
    let mut late = kv.watch("").after(begun).await.unwrap();
    assert_eq!(told(&mut late).await, format!("lagged {begun}-{gone}"));
    assert_eq!(told(&mut late).await, "a = 10");
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_with_its_node() {
    let (node, kv) = start();
    let mut watch = kv.watch("").await.unwrap();
    kv.put("a", "1").await.unwrap();
    drop((node, kv));
    assert_eq!(told(&mut watch).await, "a = 1");
    assert_eq!(told(&mut watch).await, "end");
}
