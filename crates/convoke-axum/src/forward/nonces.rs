use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use convoke_core::Expiry;
use tokio::time::Instant;

use super::sign::Nonce;

/// Nonces of one generation: some 16,000 forwarded requests per second. Beyond it a node takes no more for a while.
const NONCES_MAX: usize = 1 << 20;
/// A signature is good for so long, before and after its time: what is older needs no memory.
const GENERATION: Duration = Duration::from_secs(2 * Expiry::CLOCK_SKEW_MAX.as_secs());

/// What was seen lately, so that it is not accepted twice.
pub(super) struct Nonces {
    max: usize,
    seen: Mutex<Seen>,
}

struct Seen {
    now: HashSet<Nonce>,
    before: HashSet<Nonce>,
    since: Instant,
}

/// Whether a nonce was new.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Used {
    Now,
    Before,
    /// Too many to tell.
    Unknown,
}

impl Nonces {
    pub(super) fn new() -> Self {
        Self::of(NONCES_MAX)
    }

    fn of(max: usize) -> Self {
        let seen = Seen { now: HashSet::new(), before: HashSet::new(), since: Instant::now() };
        Self { max, seen: Mutex::new(seen) }
    }

    pub(super) fn take(&self, nonce: Nonce) -> Used {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.since.elapsed() >= GENERATION {
            seen.before = std::mem::take(&mut seen.now);
            seen.since = Instant::now();
        }
        if seen.before.contains(&nonce) || seen.now.contains(&nonce) {
            return Used::Before;
        }
        if seen.now.len() >= self.max {
            return Used::Unknown;
        }
        seen.now.insert(nonce);
        Used::Now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_nonce_is_known_for_as_long_as_its_signature_is_good() {
        let nonces = Nonces::new();
        tokio::time::sleep(GENERATION - Duration::from_secs(1)).await;
        assert_eq!(nonces.take([1; 16]), Used::Now);
        for _ in 0..59 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(nonces.take([1; 16]), Used::Before);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_so_many_of_them_and_no_more() {
        let nonces = Nonces::of(2);
        assert_eq!(
            [1, 2, 3, 1].map(|n| nonces.take([n; 16])),
            [Used::Now, Used::Now, Used::Unknown, Used::Before]
        );
        tokio::time::sleep(GENERATION).await;
        assert_eq!(nonces.take([3; 16]), Used::Now);
    }
}
