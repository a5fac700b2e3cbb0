//! Behaviours that most services want, each opt-in.
use std::{sync::Arc, time::Duration};

use tokio::{sync::Semaphore, time::timeout_at};

use crate::{Behavior, Delivered, Delivery, Failed, Next};

/// Ends a delivery that takes longer, behaviours inside included.
#[derive(Debug, Clone, Copy)]
pub struct Timeout(Duration);

impl Timeout {
    /// The longest a delivery may take; the caller's deadline still holds when it is sooner.
    pub fn after(limit: Duration) -> Self {
        Self(limit)
    }
}

impl Behavior for Timeout {
    async fn around(&self, delivery: Delivery, next: Next<'_>) -> Delivered {
        tokio::time::timeout(self.0, next.run(delivery)).await.unwrap_or(Err(Failed::TimedOut))
    }
}

/// Runs a faulted delivery again, after a pause that doubles. Answers and refusals are never repeated, nor is a
/// fault that calls itself poison.
#[derive(Debug, Clone, Copy)]
pub struct Retry {
    attempts: u32,
    pause: Duration,
}

impl Retry {
    /// At most so many runs, the first included. The pause starts at 50 ms.
    pub fn attempts(attempts: u32) -> Self {
        Self { attempts: attempts.max(1), pause: Duration::from_millis(50) }
    }

    /// The pause after the first run; it doubles with each.
    #[must_use]
    pub fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }
}

impl Behavior for Retry {
    async fn around(&self, delivery: Delivery, next: Next<'_>) -> Delivered {
        let mut pause = self.pause;
        for _ in 1..self.attempts {
            let fault = match next.run(delivery.clone()).await {
                Err(Failed::Faulted(fault)) if !fault.is_poison() => fault,
                ended => return ended,
            };
            let wait = fault.retry_after().unwrap_or(pause);
            if delivery.context().remaining() <= wait {
                return Err(Failed::Faulted(fault)); // another run would begin after the deadline
            }
            tokio::time::sleep(wait).await;
            pause = pause.saturating_mul(2);
        }
        next.run(delivery).await
    }
}

/// So many deliveries at once, over all handlers of the node; the rest wait, at most to their deadline.
#[derive(Debug, Clone)]
pub struct ConcurrencyLimit(Arc<Semaphore>);

impl ConcurrencyLimit {
    /// At least one at a time.
    pub fn new(at_once: usize) -> Self {
        Self(Arc::new(Semaphore::new(at_once.clamp(1, Semaphore::MAX_PERMITS))))
    }
}

impl Behavior for ConcurrencyLimit {
    async fn around(&self, delivery: Delivery, next: Next<'_>) -> Delivered {
        let Ok(permit) = timeout_at(delivery.context().deadline(), self.0.acquire()).await else {
            return Err(Failed::Overloaded); // nothing ran
        };
        let _permit = permit.expect("the semaphore is never closed");
        next.run(delivery).await
    }
}
