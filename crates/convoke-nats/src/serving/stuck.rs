use std::time::Duration;

use tokio::time::Instant;

/// A member that refused for so long and finished nothing meanwhile is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(3);

/// Tells a node that is busy from one whose handlers are stuck.
#[derive(Debug, Default)]
pub(super) struct Stuck {
    /// The first refusal since something was finished, and how much was finished then.
    refusing: Option<(Instant, u64)>,
}

impl Stuck {
    /// A request was refused for want of room. Whether that lasts too long.
    pub(super) fn refused(&mut self, now: Instant, finished: u64) -> bool {
        match self.refusing {
            Some((since, then)) if then == finished => now - since >= STUCK_AFTER,
            _ => {
                self.refusing = Some((now, finished));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_refuses_and_finishes_nothing_is_stuck_after_a_while() {
        let (begun, mut stuck) = (Instant::now(), Stuck::default());
        let at = |millis| begun + Duration::from_millis(millis);
        assert!(!stuck.refused(at(0), 7));
        assert!(!stuck.refused(at(2999), 7));
        assert!(!stuck.refused(at(3000), 8), "it is busy, and gets on");
        assert!(!stuck.refused(at(5999), 8));
        assert!(stuck.refused(at(6000), 8));
    }
}
