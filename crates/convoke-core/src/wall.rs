use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

use crate::envelope::{millis, unix_ms};

/// How long a reading of the wall clock is carried on.
const READ_EVERY: Duration = Duration::from_secs(1);

/// The wall clock, read once a second. In between it is worked out from an instant that the caller has already, so
/// that a request reads no clock for it.
pub(crate) struct Wall {
    begun: Instant,
    /// The last reading: milliseconds since `begun`, and how far the wall clock was ahead of that. They are written
    /// one after the other, and a reader between the two is off by what the clock was set by.
    read_at: AtomicU64,
    ahead: AtomicU64,
}

impl Wall {
    pub(crate) fn new() -> Self {
        Self { begun: Instant::now(), read_at: AtomicU64::new(0), ahead: AtomicU64::new(unix_ms()) }
    }

    /// Milliseconds since 1970 at an instant of the last second.
    pub(crate) fn unix_ms(&self, now: Instant) -> u64 {
        self.at(now, unix_ms)
    }

    fn at(&self, now: Instant, read: impl FnOnce() -> u64) -> u64 {
        let since = millis(now.saturating_duration_since(self.begun));
        if since.wrapping_sub(self.read_at.load(Ordering::Relaxed)) <= millis(READ_EVERY) {
            return self.ahead.load(Ordering::Relaxed).saturating_add(since);
        }
        let read = read();
        self.ahead.store(read.saturating_sub(since), Ordering::Relaxed);
        self.read_at.store(since, Ordering::Relaxed);
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_is_carried_on_for_a_second_and_then_made_again() {
        let begun = Instant::now();
        let wall = Wall { begun, read_at: AtomicU64::new(0), ahead: AtomicU64::new(5_000_000) };
        let at = |ms, reading| wall.at(begun + Duration::from_millis(ms), || reading);
        assert_eq!(at(0, 1), 5_000_000);
        assert_eq!(at(1_000, 2), 5_001_000);
        assert_eq!(at(1_001, 7_000_000), 7_000_000, "the clock was set meanwhile");
        assert_eq!(at(1_501, 3), 7_000_500, "it is carried on from there");
        assert_eq!(at(400, 6_999_400), 6_999_400, "an instant from before is read anew");
    }
}
