use std::future::{pending, ready};
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use convoke_testing::{EVENTUALLY_WITHIN, eventually, eventually_within};
use futures_util::FutureExt;
use tokio::time::Instant;

/// What `wait` panics with.
async fn panic_of<T>(wait: impl Future<Output = T>) -> String {
    let panic = AssertUnwindSafe(wait).catch_unwind().await.err().expect("the wait gives up");
    *panic.downcast::<String>().expect("the panic has a formatted message")
}

#[tokio::test(start_paused = true)]
async fn it_asks_until_the_condition_holds_and_returns_its_value() {
    let mut left = [None, None, Some("seven")].into_iter();
    assert_eq!(eventually("seven comes", || ready(left.next().flatten())).await, "seven");
    let mut left = [Err("busy"), Ok(7)].into_iter();
    assert_eq!(eventually("seven comes", || ready(left.next().expect("asked twice at most"))).await, 7);
    let mut left = [false, true].into_iter();
    eventually("true comes", || ready(left.next().expect("asked twice at most"))).await;
}

#[tokio::test(start_paused = true)]
async fn it_gives_up_with_the_reason_the_last_answer_and_the_place() {
    let line = line!() + 1;
    let text = panic_of(eventually("outbox drained", || ready(Err::<(), _>("3 rows")))).await;
    assert!(text.contains("outbox drained") && text.contains("\"3 rows\""), "{text}");
    assert!(text.contains(&format!("eventually.rs:{line}:")), "{text}");
}

#[tokio::test(start_paused = true)]
async fn it_waits_ten_seconds_unless_told_otherwise() {
    let start = Instant::now();
    panic_of(eventually("never", || ready(false))).await;
    let waited = start.elapsed();
    assert!(
        waited <= EVENTUALLY_WITHIN && waited > EVENTUALLY_WITHIN - Duration::from_millis(200),
        "{waited:?}"
    );

    let start = Instant::now();
    panic_of(eventually_within(Duration::from_secs(1), "never", || ready(None::<()>))).await;
    assert!(start.elapsed() <= Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_question_that_hangs_ends_at_the_deadline_too() {
    let text = panic_of(eventually_within(Duration::from_secs(1), "it answers", pending::<bool>)).await;
    assert!(text.contains("it answers") && text.contains("no answer"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn the_pauses_grow_to_a_tenth_of_a_second() {
    let mut asked_at = Vec::new();
    let start = Instant::now();
    eventually("eight questions", || {
        asked_at.push(start.elapsed().as_millis());
        ready(asked_at.len() == 8)
    })
    .await;
    assert_eq!(asked_at, [0, 10, 30, 70, 150, 250, 350, 450]);
}
