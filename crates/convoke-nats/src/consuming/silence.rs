use std::time::Duration;

use tokio::time::Instant;

use super::pull::HEARTBEAT;

/// A server that is silent for so many heartbeats has lost the consumer.
const HEARTBEATS_MISSED_MAX: u32 = 3;

/// For how long a server has said nothing while we listened.
///
/// A process that was stopped heard nothing either, and what it did not hear lies in its socket: giving the consumer
/// up then would throw those events away, to come again after the ack wait.
#[derive(Debug)]
pub(super) struct Silence {
    heard: Instant,
    /// When we last looked, and how often we mean to.
    looked: Instant,
    every: Duration,
}

impl Silence {
    pub(super) fn new(every: Duration, now: Instant) -> Self {
        Self { heard: now, looked: now, every }
    }

    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// Looks, and tells whether it lasts too long.
    pub(super) fn lasts(&mut self, now: Instant) -> bool {
        if now - self.looked > 2 * self.every {
            self.heard = now; // we were not there: the time counts from here
        }
        self.looked = now;
        now - self.heard > HEARTBEAT * HEARTBEATS_MISSED_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_missed_heartbeats_are_too_long_a_silence() {
        let begun = Instant::now();
        let mut silence = Silence::new(HEARTBEAT, begun);
        let lasting = (1..=4).map(|n| silence.lasts(begun + HEARTBEAT * n)).collect::<Vec<_>>();
        assert_eq!(lasting, [false, false, false, true]);
        silence.heard(begun + HEARTBEAT * 4);
        assert!(!silence.lasts(begun + HEARTBEAT * 5));
    }

    #[test]
    fn time_in_which_the_process_was_stopped_is_no_silence() {
        let begun = Instant::now();
        let mut silence = Silence::new(HEARTBEAT, begun);
        let resumed = begun + HEARTBEAT * 10;
        // the looks that were missed are made up for at once
        assert_eq!([(); 3].map(|()| silence.lasts(resumed)), [false; 3]);
        let lasting = (1..=4).map(|n| silence.lasts(resumed + HEARTBEAT * n)).collect::<Vec<_>>();
        assert_eq!(lasting, [false, false, false, true]);
    }
}
