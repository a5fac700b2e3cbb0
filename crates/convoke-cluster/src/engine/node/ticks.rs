use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep, timeout};

use super::Node;
use crate::{StateMachine, engine::types::Op};

/// Milliseconds since 1970. What a leader writes into the log; no decision of this node. While a node leads, leases
/// are counted on it: it is not to be set.
pub(crate) type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The clock moves on by itself at most so often: what ends in between ends together.
const GAP: Duration = Duration::from_millis(20);
/// The longest sleep, so that a clock that was set back is noticed.
const SLEEP_MAX: Duration = Duration::from_secs(1);
/// How long a tick may take. The next one does as well.
const WITHIN: Duration = Duration::from_secs(1);

impl<M: StateMachine> Node<M> {
    /// Lets time pass in the log while this node leads, whenever something is to end by it. Runs for ever.
    pub(crate) async fn tick(&self) {
        let mut applied = self.applied.clone();
        loop {
            applied.mark_unchanged();
            let due = self.leading().term_here().and_then(|term| self.next_expiry_ms(term));
            let wait = due.map_or(SLEEP_MAX, |at| {
                Duration::from_millis(at.saturating_sub((self.clock)())).min(SLEEP_MAX)
            });
            if wait.is_zero() {
                // When it fails, another node leads and ticks, or the next round does.
                self.propose_here(None, Op::Tick, Instant::now() + WITHIN).await;
            } else if let Ok(Err(_)) = timeout(wait, applied.changed()).await {
                return;
            }
            sleep(GAP).await;
        }
    }

    fn next_expiry_ms(&self, term: u64) -> Option<u64> {
        self.system.read().unwrap_or_else(PoisonError::into_inner).next_expiry_ms(term)
    }
}
