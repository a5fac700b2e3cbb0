//! Notices when this process stood still, or its runtime was blocked.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{link::Link, troubles::Trouble};

const BEAT: Duration = Duration::from_millis(250);
/// A beat that is so late was held up.
const STALL_MIN: Duration = Duration::from_millis(STALL_MIN_MILLIS);
const STALL_MIN_MILLIS: u64 = 1000;
/// For how long after a stall what is read may have lain in a buffer since before it.
const AFTERMATH: Duration = Duration::from_millis(500);

/// The runtime's heartbeat. Whoever reads a message asks it how long the message may have lain there: those who come
/// before the next beat see that it is late, and for those who come after it the beat remembers how late it was.
#[derive(Debug)]
pub(crate) struct Pulse {
    start: Instant,
    /// Milliseconds since the start; 0 before the first.
    beat: AtomicU64,
    stall: AtomicU64,
    stall_told_until: AtomicU64,
}

impl Pulse {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            beat: AtomicU64::new(0),
            stall: AtomicU64::new(0),
            stall_told_until: AtomicU64::new(0),
        })
    }

    pub(crate) async fn run(self: Arc<Self>, link: Arc<Link>) {
        let mut beats = interval(BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            beats.tick().await;
            let now = Instant::now();
            if let Some(stall) = self.beat(now) {
                tracing::warn!(?stall, "this process stood still, or its runtime was blocked");
                link.troubles().tell(
                    Trouble::Stall,
                    format!(
                        "the process stood still for {stall:?}: look for handlers that block their thread, or for a \
                         machine that is short of processors"
                    ),
                );
            }
        }
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.start).as_millis()).unwrap_or(u64::MAX).max(1)
    }

    /// A beat. How long the time before it was, when it was too long.
    fn beat(&self, now: Instant) -> Option<Duration> {
        let now = self.millis(now);
        let before = self.beat.load(Ordering::Relaxed);
        let since = Duration::from_millis(now.saturating_sub(before));
        let stall = (before > 0 && since >= STALL_MIN).then_some(since);
        if let Some(stall) = stall {
            let aftermath = u64::try_from(AFTERMATH.as_millis()).unwrap_or(0);
            self.stall.store(u64::try_from(stall.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
            self.stall_told_until.store(now + aftermath, Ordering::Relaxed);
        }
        self.beat.store(now, Ordering::Release); // last: who sees this beat sees the stall before it
        stall
    }

    /// How long a message that is read now may have lain in a buffer; zero unless we stood still.
    pub(crate) fn held_up(&self, now: Instant) -> Duration {
        let now = self.millis(now);
        let beat = self.beat.load(Ordering::Acquire);
        let late = now.saturating_sub(beat);
        if beat > 0 && late >= STALL_MIN_MILLIS {
            return Duration::from_millis(late);
        }
        if now < self.stall_told_until.load(Ordering::Relaxed) {
            return Duration::from_millis(self.stall.load(Ordering::Relaxed));
        }
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_after_a_stall_may_be_as_old_as_the_stall() {
        let pulse = Pulse::new();
        let at = |millis| pulse.start + Duration::from_millis(millis);
        assert_eq!(pulse.held_up(at(5000)), Duration::ZERO, "nothing beats yet");
        assert_eq!(pulse.beat(at(5000)), None);
        assert_eq!(pulse.beat(at(5250)), None);
        assert_eq!(pulse.held_up(at(5900)), Duration::ZERO, "a busy moment");
        assert_eq!(pulse.held_up(at(8250)), Duration::from_secs(3), "the beat is late");
        assert_eq!(pulse.beat(at(8250)), Some(Duration::from_secs(3)));
        assert_eq!(pulse.held_up(at(8300)), Duration::from_secs(3), "it came first, and remembers");
        assert_eq!(pulse.beat(at(8500)), None);
        assert_eq!(pulse.held_up(at(8800)), Duration::ZERO);
    }
}
