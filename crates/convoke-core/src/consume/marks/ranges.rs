//! Numbers of events, as ranges.
use std::collections::BTreeMap;

/// Ranges of handled events that stay in memory, so that an event whose acknowledgement was lost is known when it
/// comes again. Without gaps one range holds all.
const RANGES_MAX: usize = 65_536;

/// Numbers from first to last, range by range: events are done nearly in their order, so a few ranges hold all of them.
#[derive(Default)]
pub(super) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    pub(super) fn contains(&self, sequence: u64) -> bool {
        self.0.range(..=sequence).next_back().is_some_and(|(_, last)| sequence <= *last)
    }

    pub(super) fn insert(&mut self, sequence: u64) {
        if self.contains(sequence) {
            return;
        }
        let last = self.0.remove(&(sequence + 1)).unwrap_or(sequence);
        match self.0.range_mut(..sequence).next_back() {
            Some((_, before)) if *before + 1 == sequence => *before = last,
            _ => drop(self.0.insert(sequence, last)),
        }
        if self.0.len() > RANGES_MAX {
            self.0.pop_first();
        }
    }

    /// The newest of them, oldest first.
    pub(super) fn newest(&self, most: usize) -> Vec<(u64, u64)> {
        let skip = self.0.len().saturating_sub(most);
        self.0.iter().skip(skip).map(|(first, last)| (*first, *last)).collect()
    }
}

impl FromIterator<(u64, u64)> for Ranges {
    fn from_iter<I: IntoIterator<Item = (u64, u64)>>(ranges: I) -> Self {
        Self(ranges.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(handled: &[u64], ranges: &[(u64, u64)]) {
        let mut done = Ranges::default();
        handled.iter().for_each(|sequence| done.insert(*sequence));
        assert_eq!(done.newest(usize::MAX), ranges);
        assert!(handled.iter().all(|sequence| done.contains(*sequence)));
        let missing = (0..20).filter(|sequence| !handled.contains(sequence));
        assert!(missing.clone().all(|sequence| !done.contains(sequence)), "{ranges:?}");
    }

    #[test]
    fn neighbours_become_one_range_in_whatever_order_they_come() {
        check(&[1, 2, 3], &[(1, 3)]);
        check(&[3, 1, 2], &[(1, 3)]);
        check(&[5, 1, 3, 2, 4, 4], &[(1, 5)]);
        check(&[1, 3, 5, 9], &[(1, 1), (3, 3), (5, 5), (9, 9)]);
        check(&[0, 2, 1, 7, 8, 12], &[(0, 2), (7, 8), (12, 12)]);
    }

    #[test]
    fn memory_is_bounded_and_the_newest_stay() {
        let mut done = Ranges::default();
        let gaps = RANGES_MAX as u64 + 10;
        (0..gaps).for_each(|n| done.insert(n * 2));
        assert_eq!(done.newest(usize::MAX).len(), RANGES_MAX);
        assert!(done.contains((gaps - 1) * 2) && !done.contains(0));
    }
}
