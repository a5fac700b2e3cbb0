use std::time::Duration;

use tokio::time::Instant;

/// Decides when a silent connection is dead.
///
/// The client reconnects when a connection is closed, not when it is silent: a link that swallows everything would
/// be used for ever. So many attempts in a row without an answer end it, where each must have begun after the one
/// before was given up: many callers at once are one silence.
#[derive(Debug)]
pub(super) struct Watchdog {
    timeouts_max: u32,
    connect_timeout: Duration,
    born: Instant,
    timeouts: u32,
    last: Instant,
}

impl Watchdog {
    /// `timeouts_max` of 0 switches it off.
    pub(super) fn new(timeouts_max: u32, connect_timeout: Duration, now: Instant) -> Self {
        Self { timeouts_max, connect_timeout, born: now, timeouts: 0, last: now }
    }

    /// The same for a new connection.
    pub(super) fn reborn(&self, now: Instant) -> Self {
        Self::new(self.timeouts_max, self.connect_timeout, now)
    }

    pub(super) fn answered(&mut self) {
        self.timeouts = 0;
    }

    /// An attempt that began then was given up now. `true`: make a new connection.
    pub(super) fn unanswered(&mut self, began: Instant, now: Instant) -> bool {
        if self.timeouts_max == 0 || began < self.last {
            return false;
        }
        self.last = now;
        self.timeouts = self.timeouts.saturating_add(1);
        self.timeouts >= self.timeouts_max && self.is_old(now)
    }

    /// Whether it had the time to connect. Replacing it before that would keep it from ever being connected.
    pub(super) fn is_old(&self, now: Instant) -> bool {
        now - self.born >= self.connect_timeout
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Attempts by when they began and were given up, in ms, and whether one ends the connection.
    #[track_caller]
    fn check(timeouts_max: u32, connect_timeout_ms: u64, attempts: &[(u64, u64, bool)]) {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut watchdog = Watchdog::new(timeouts_max, Duration::from_millis(connect_timeout_ms), start);
        for &(began, given_up, ends) in attempts {
            assert_eq!(watchdog.unanswered(at(began), at(given_up)), ends, "{began}..{given_up}");
        }
    }

    #[test]
    fn three_silences_in_a_row_end_a_connection() {
        check(3, 0, &[(0, 500, false), (500, 1000, false), (1000, 1500, true)]);
    }

    #[test]
    fn many_callers_at_once_are_one_silence() {
        check(
            3,
            0,
            &[(0, 500, false), (1, 501, false), (2, 502, false), (501, 900, false), (901, 1400, true)],
        );
    }

    #[test]
    fn a_connection_gets_the_time_to_connect() {
        check(1, 1000, &[(0, 500, false), (500, 1000, true)]);
    }

    #[test]
    fn a_watchdog_that_is_off_never_bites() {
        check(0, 0, &[(0, 500, false), (500, 1000, false), (1000, 1500, false)]);
    }

    #[test]
    fn an_answer_starts_the_count_anew() {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(2, Duration::ZERO, start);
        let at = |ms| start + Duration::from_millis(ms);
        assert!(!watchdog.unanswered(at(0), at(1)));
        watchdog.answered();
        assert!(!watchdog.unanswered(at(2), at(3)));
        assert!(watchdog.unanswered(at(4), at(5)));
    }
}
