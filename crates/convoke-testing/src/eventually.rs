//! Waiting for a condition, with a deadline and a reason.

use std::fmt::Debug;
use std::panic::Location;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

/// How long [`eventually`] waits.
pub const EVENTUALLY_WITHIN: Duration = Duration::from_secs(10);

const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// What [`eventually`] can wait for: a `bool`, an `Option` or a `Result`.
#[diagnostic::on_unimplemented(
    message = "`eventually` waits for a `bool`, an `Option` or a `Result`, not for `{Self}`"
)]
pub trait Condition {
    /// What the wait returns.
    type Value;

    /// The value, or how the condition looks while it does not hold.
    ///
    /// # Errors
    ///
    /// The text a person reads when the deadline passes.
    fn holds(self) -> Result<Self::Value, String>;
}

impl Condition for bool {
    type Value = ();

    fn holds(self) -> Result<(), String> {
        if self { Ok(()) } else { Err("false".into()) }
    }
}

impl<T> Condition for Option<T> {
    type Value = T;

    fn holds(self) -> Result<T, String> {
        self.ok_or_else(|| "None".into())
    }
}

impl<T, E: Debug> Condition for Result<T, E> {
    type Value = T;

    fn holds(self) -> Result<T, String> {
        self.map_err(|error| format!("{error:?}"))
    }
}

/// Asks until the condition holds, for [`EVENTUALLY_WITHIN`] at most, and returns its value.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use convoke_testing::eventually;
///
/// let mut asked = 0;
/// let third = eventually("asked three times", || {
///     asked += 1;
///     let answer = (asked == 3).then_some(asked);
///     async move { answer }
/// });
/// assert_eq!(third.await, 3);
/// # });
/// ```
///
/// # Panics
///
/// Panics with `reason` and the last answer when the time is up; also when one question takes that long.
#[track_caller]
pub fn eventually<F, Fut>(reason: &str, ask: F) -> impl Future<Output = <Fut::Output as Condition>::Value>
where
    F: FnMut() -> Fut,
    Fut: Future<Output: Condition>,
{
    eventually_within(EVENTUALLY_WITHIN, reason, ask)
}

/// Like [`eventually`], with a time of the caller's choice.
///
/// # Panics
///
/// Panics with `reason` and the last answer when the time is up; also when one question takes that long.
#[track_caller]
pub fn eventually_within<F, Fut>(
    within: Duration,
    reason: &str,
    mut ask: F,
) -> impl Future<Output = <Fut::Output as Condition>::Value>
where
    F: FnMut() -> Fut,
    Fut: Future<Output: Condition>,
{
    // Taken here: an `async fn` would tell the place where it is polled, which is inside tokio.
    let place = Location::caller();
    async move {
        let deadline = Instant::now() + within;
        let mut pause = PAUSE_MIN;
        let mut last = "no answer".to_owned();
        loop {
            match timeout_at(deadline, ask()).await.map(Condition::holds) {
                Ok(Ok(value)) => return value,
                Ok(Err(answer)) => last = answer,
                Err(_) => {}
            }
            if Instant::now() + pause > deadline {
                panic!("{place}: not within {within:?}: {reason}; last answer: {last}");
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}
