use std::sync::atomic::{AtomicI64, Ordering};

/// How many repeats a node may send: a tenth of its requests and a small reserve, so that repeats never
/// multiply an overload.
pub(crate) struct Budget(AtomicI64); // in tenths of a repeat

const RESERVE: i64 = 100;
const FULL: i64 = 1000;
const REPEAT: i64 = 10;

impl Budget {
    pub(crate) fn new() -> Self {
        Self(AtomicI64::new(RESERVE))
    }

    /// A request was sent.
    pub(crate) fn deposit(&self) {
        if self.0.load(Ordering::Relaxed) < FULL {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether a repeat may be sent.
    pub(crate) fn withdraw(&self) -> bool {
        let enough = self.0.fetch_sub(REPEAT, Ordering::Relaxed) >= REPEAT;
        if !enough {
            self.0.fetch_add(REPEAT, Ordering::Relaxed);
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_are_a_tenth_of_requests_and_a_reserve() {
        let budget = Budget::new();
        assert_eq!((0..100).filter(|_| budget.withdraw()).count(), 10);
        (0..95).for_each(|_| budget.deposit());
        assert_eq!((0..100).filter(|_| budget.withdraw()).count(), 9);
    }
}
