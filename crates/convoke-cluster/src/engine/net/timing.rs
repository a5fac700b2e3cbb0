use std::time::Duration;

/// How long this transport waits. None of it follows from the heartbeat: a follower whose disk is slow for a moment is
/// not gone, and its connection stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timing {
    /// Until a wire stands, with TLS when there is TLS.
    pub(crate) connect: Duration,
    /// Until both sides have proven who they are.
    pub(crate) handshake: Duration,
    /// Until something comes back after something was sent. Whoever is silent for longer is cut off, and called again.
    pub(crate) answer: Duration,
    /// Until a byte of ours is taken.
    pub(crate) stall: Duration,
    /// Until a complete snapshot is installed over there.
    pub(crate) install: Duration,
    /// Until a caller that asks nothing is hung up on.
    pub(crate) idle: Duration,
    /// The longest pause before somebody who cannot be reached is called again.
    pub(crate) retry: Duration,
    /// The pause before somebody who refused us is called again: a person has to do something first.
    pub(crate) refused: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            connect: Duration::from_millis(500),
            handshake: Duration::from_secs(1),
            answer: Duration::from_secs(2),
            stall: Duration::from_secs(5),
            install: Duration::from_secs(300),
            idle: Duration::from_secs(120),
            retry: Duration::from_millis(200),
            refused: Duration::from_secs(1),
        }
    }
}

/// The pause after the first failure.
const PAUSE_MIN: Duration = Duration::from_millis(20);

impl Timing {
    /// How long to wait after so many failures in a row. The salt spreads callers, the same way in each run.
    pub(crate) fn pause(&self, failures: u32, salt: u64) -> Duration {
        let whole = PAUSE_MIN.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(self.retry);
        let mixed = (salt ^ u64::from(failures)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 54;
        whole / 2 + (whole / 2) * u32::try_from(mixed).expect("ten bits are left") / 1024
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_never_below_a_half() {
        let timing = Timing::default();
        for salt in 0..100 {
            assert!(timing.pause(1, salt) >= PAUSE_MIN / 2);
            assert!(timing.pause(1, salt) <= PAUSE_MIN);
            assert!(timing.pause(40, salt) >= timing.retry / 2);
            assert!(timing.pause(u32::MAX, salt) <= timing.retry);
        }
    }
}
