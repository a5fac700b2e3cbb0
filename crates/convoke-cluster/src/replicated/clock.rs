use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use crate::coding;

/// The time of the log.
///
/// Leaders' clocks differ. A lease that was written under one and ended under another, whose clock is ahead, would
/// end before its holder can know; under one that is behind it would not end. So leases are counted on a time that
/// only moves with the clock of one leader at a time: where a new leader begins, it stands still.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Clock {
    /// The latest time that a leader wrote down.
    pub(super) time_ms: u64,
    /// Never faster than the clocks of those who hold leases.
    pub(super) steady_ms: u64,
    term: u64,
    /// When the term began, on its leader's clock and on the steady one.
    began: (u64, u64),
}

impl Clock {
    /// A leader wrote this down.
    pub(super) fn advance(&mut self, term: u64, wrote_ms: u64) {
        if term != self.term {
            (self.term, self.began) = (term, (wrote_ms, self.steady_ms));
        }
        let passed = wrote_ms.saturating_sub(self.began.0);
        self.steady_ms = self.steady_ms.max(self.began.1.saturating_add(passed));
        self.time_ms = self.time_ms.max(wrote_ms);
    }

    /// What the leader's clock shows when the steady time is this. A leader that has not written yet does so at once:
    /// from then on its clock counts.
    pub(super) fn shown_at(&self, term: u64, steady_ms: u64) -> u64 {
        if term != self.term {
            return 0;
        }
        self.began.0.saturating_add(steady_ms.saturating_sub(self.began.1))
    }

    pub(super) fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        coding::write_record(to, self)
    }

    pub(super) fn read(from: &mut dyn Read) -> io::Result<Self> {
        coding::read_record(from, 64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[test]
    fn it_moves_with_the_clock_of_the_leader() {
        let mut clock = Clock::default();
        for (wrote, steady) in [(1_000, 0), (1_700, 700), (1_600, 700), (1_701, 701)] {
            clock.advance(1, wrote);
            assert_eq!(clock.steady_ms, steady);
        }
        assert_eq!((clock.time_ms, clock.shown_at(1, 800)), (1_701, 1_800));
    }

    #[test]
    fn it_stands_still_where_a_leader_begins_whatever_its_clock_shows() {
        let mut clock = Clock::default();
        clock.advance(1, 1_000);
        clock.advance(1, 1_500);
        clock.advance(2, 90_000);
        assert_eq!(clock.steady_ms, 500, "ahead");
        clock.advance(2, 90_100);
        clock.advance(3, 50);
        assert_eq!(clock.steady_ms, 600, "behind");
        clock.advance(3, 80);
        assert_eq!((clock.steady_ms, clock.time_ms), (630, 90_100));
        assert_eq!(clock.shown_at(4, 700), 0, "who has not written yet does so at once");
        assert_eq!(clock.shown_at(3, 700), 150);
    }

    proptest! {
        /// Each entry is written some time after the one before, by a leader with a clock of its own.
        #[test]
        fn it_never_runs_faster_than_real_time_nor_stops_within_a_term(
            entries in vec((0..3_000u64, proptest::option::weighted(0.2, 0..1_000_000u64)), 1..60),
        ) {
            let (mut clock, mut real, mut term, mut skew) = (Clock::default(), 0u64, 1, 500_000);
            let mut before = clock;
            for (passed, election) in entries {
                real += passed;
                if let Some(other) = election {
                    (term, skew) = (term + 1, other);
                }
                clock.advance(term, skew + real);
                let moved = clock.steady_ms - before.steady_ms;
                prop_assert!(moved <= passed);
                if election.is_none() && before.term == term {
                    prop_assert_eq!(moved, passed);
                }
                before = clock;
            }
        }
    }
}
