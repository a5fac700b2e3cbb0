//! Handlers run in the loop that reads, as long as they are quick.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    task::{Context, Poll, Waker},
    time::Duration,
};

use async_nats::{Message, Subscriber};
use convoke_core::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use tokio::time::Instant;

/// A poll that took longer holds up those behind it.
const POLL_MAX: Duration = Duration::from_micros(100);
/// So many get a task of their own at once after a poll that took longer, and twice as many each time the next one
/// that is polled takes as long: a thread that was not given a core looks slow once, a slow handler again.
const SPAWNED_AFTER_SLOW: u32 = 1;
const SPAWNED_AFTER_SLOW_MAX: u32 = 256;

/// Polls each future once where the message was read. A task per message costs a fifth of the throughput, and
/// most handlers that touch memory only are done with the first poll.
///
/// How long a poll took is seen from the message behind it, when there is one: it holds up nobody else, and costs
/// no clock.
#[derive(Debug, Default)]
pub(crate) struct Inline {
    to_spawn: u32,
    /// How many got a task after the last slow poll, if it was the last poll.
    spawned: u32,
    /// When the message before was received, which was polled and has the next one behind it.
    polled: Option<Instant>,
}

/// What became of the first poll.
pub(crate) enum First<T> {
    /// Done.
    Ready(T),
    /// It panicked.
    Panicked(String),
    /// It waits for something, or was not polled: it needs a task.
    Pending(BoxFuture<'static, T>),
}

impl Inline {
    /// The next message of a subscription.
    pub(crate) async fn next(&mut self, subscriber: &mut Subscriber) -> Option<Message> {
        poll_fn(|task| {
            let polled = subscriber.poll_next_unpin(task);
            if polled.is_pending() {
                self.waited();
            }
            polled
        })
        .await
    }

    /// No message was behind the one before.
    pub(crate) fn waited(&mut self) {
        self.polled = None;
    }

    pub(crate) fn first<T>(
        &mut self,
        received: Instant,
        make: impl FnOnce() -> BoxFuture<'static, T>,
    ) -> First<T> {
        if let Some(before) = self.polled.take() {
            let slow = received.saturating_duration_since(before) > POLL_MAX;
            let next = (2 * self.spawned).clamp(SPAWNED_AFTER_SLOW, SPAWNED_AFTER_SLOW_MAX);
            self.spawned = if slow { next } else { 0 };
            self.to_spawn = self.spawned;
        }
        let polls = self.to_spawn == 0;
        self.to_spawn = self.to_spawn.saturating_sub(1);
        self.polled = polls.then_some(received);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let mut future = make();
            if polls {
                // nobody is woken: a future that is not ready is polled again by its task
                if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    return First::Ready(value);
                }
            }
            First::Pending(future)
        }));
        outcome.unwrap_or_else(|panic| First::Panicked(panic_text(&*panic)))
    }
}

/// The value of a future, or what it panicked with.
pub(crate) async fn caught<T>(future: BoxFuture<'static, T>) -> Result<T, String> {
    AssertUnwindSafe(future).catch_unwind().await.map_err(|panic| panic_text(&*panic))
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it panicked".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_ready_future_needs_no_task_and_a_pending_one_goes_on_in_one() {
        let mut inline = Inline::default();
        assert!(matches!(inline.first(Instant::now(), || Box::pin(async { 1 })), First::Ready(1)));
        let yields = inline.first(Instant::now(), || {
            Box::pin(async {
                tokio::task::yield_now().await;
                2
            })
        });
        let First::Pending(future) = yields else { panic!("it is not ready") };
        assert_eq!(tokio::spawn(caught(future)).await.expect("it does not panic"), Ok(2));
    }

    fn is_ready(inline: &mut Inline, received: Instant) -> bool {
        matches!(inline.first(received, || Box::pin(async {})), First::Ready(()))
    }

    /// How many get a task when the poll before took so long; the one behind them is polled.
    fn spawned(inline: &mut Inline, now: &mut Instant, took: Duration) -> u32 {
        *now += took;
        let spawned = (0..).take_while(|_| !is_ready(inline, *now)).count();
        u32::try_from(spawned).expect("there is a bound")
    }

    #[test]
    fn a_slow_poll_gives_those_behind_it_tasks_and_slow_handlers_ever_more() {
        let (mut inline, mut now) = (Inline::default(), Instant::now());
        let (quick, slow) = (POLL_MAX, 3 * POLL_MAX);
        assert_eq!(spawned(&mut inline, &mut now, quick), 0);
        assert_eq!(spawned(&mut inline, &mut now, quick), 0, "as long as a poll may take");
        let of_slow = [slow; 11].map(|took| spawned(&mut inline, &mut now, took));
        assert_eq!(of_slow, [1, 2, 4, 8, 16, 32, 64, 128, 256, 256, 256]);
        let of_others = [quick, slow, quick, quick].map(|took| spawned(&mut inline, &mut now, took));
        assert_eq!(of_others, [0, 1, 0, 0]);
    }

    #[test]
    fn a_message_that_came_later_was_not_held_up() {
        let (mut inline, begun) = (Inline::default(), Instant::now());
        assert!(is_ready(&mut inline, begun));
        inline.waited();
        assert!(is_ready(&mut inline, begun + 3 * POLL_MAX));
    }

    #[test]
    fn a_panic_stays_with_its_message() {
        let outcome = Inline::default().first::<()>(Instant::now(), || panic!("boom"));
        assert!(matches!(outcome, First::Panicked(text) if text == "boom"));
    }
}
