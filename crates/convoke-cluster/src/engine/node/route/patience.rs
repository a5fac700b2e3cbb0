use std::time::Duration;

/// The pause before the leader is asked again that could not answer, and what it grows to: all that clients want waits
/// while a leader is gone, and should leave the machine to those who elect the next one.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(80);
/// So many nodes are asked without a pause because another one named them. While leadership is handed over, the old
/// leader names the next one, which does not know of it yet and names the old one.
const HINTS_MAX: u32 = 3;

/// How often a question is asked while nobody answers it.
#[derive(Debug, Default)]
pub(super) struct Patience {
    hints: u32,
    pauses: u32,
}

impl Patience {
    /// Whether the one that was named now is asked at once.
    pub(super) fn follows_hint(&mut self) -> bool {
        self.hints += 1;
        self.hints <= HINTS_MAX
    }

    /// How long to wait before the next attempt.
    pub(super) fn pause(&mut self) -> Duration {
        let pause = PAUSE_MIN.saturating_mul(1 << self.pauses.min(16)).min(PAUSE_MAX);
        (self.hints, self.pauses) = (0, self.pauses + 1);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_that_is_gone_is_asked_seldom_and_soon() {
        let mut patience = Patience::default();
        let pauses: Vec<_> = (0..5).map(|_| patience.pause().as_millis()).collect();
        assert_eq!(pauses, [10, 20, 40, 80, 80]);
        patience.pauses = 1_000_000;
        assert_eq!(patience.pause(), PAUSE_MAX);
    }

    #[test]
    fn two_nodes_that_name_each_other_are_not_asked_without_a_pause_for_ever() {
        let mut patience = Patience::default();
        for _ in 0..2 {
            let followed = (0..10).filter(|_| patience.follows_hint()).count();
            assert_eq!(followed, 3);
            patience.pause();
        }
    }
}
