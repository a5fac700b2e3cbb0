use std::collections::{BTreeMap, BTreeSet};

/// The lanes of a group that somebody reads: events of one lane are with one reader at a time, in order.
#[derive(Debug, Default, Clone)]
pub(super) struct Lanes(BTreeMap<u8, Lane>);

#[derive(Debug, Default, Clone)]
struct Lane {
    /// Who has some of its events in hand, and how many.
    holder: Option<(u64, usize)>,
    /// Those that are not in hand. Later ones never pass earlier ones.
    waiting: BTreeSet<u64>,
    /// Who did not settle one: it goes to another reader, while there is one.
    shunned_by: Option<u64>,
}

impl Lane {
    /// Whose the lane is: its holder's; else of one of the readers, each of which has its share.
    fn reader(&self, lane: u8, readers: &BTreeSet<u64>) -> Option<u64> {
        let shunned = self.shunned_by.filter(|_| readers.len() > 1);
        if let Some((holder, _)) = self.holder {
            return Some(holder).filter(|_| shunned != self.holder.map(|(holder, _)| holder));
        }
        let able = readers.iter().filter(|reader| shunned != Some(**reader));
        able.clone().nth(usize::from(lane) % able.count().max(1)).copied()
    }
}

impl Lanes {
    /// An event of the lane is there to be taken.
    pub(super) fn wait(&mut self, lane: u8, sequence: u64) {
        self.0.entry(lane).or_default().waiting.insert(sequence);
    }

    /// The earliest event that this reader may have now, and its lane.
    pub(super) fn take(&mut self, reader: u64, readers: &BTreeSet<u64>) -> Option<(u8, u64)> {
        let waiting = self.0.iter_mut().filter(|(_, lane)| !lane.waiting.is_empty());
        let ours = waiting.filter(|(number, lane)| lane.reader(**number, readers) == Some(reader));
        let (lane, state) = ours.min_by_key(|(_, lane)| lane.waiting.first().copied())?;
        let sequence = state.waiting.pop_first()?;
        let in_hand = state.holder.map_or(0, |(_, in_hand)| in_hand);
        state.holder = Some((reader, in_hand + 1));
        state.shunned_by = state.shunned_by.filter(|by| *by == reader);
        Some((*lane, sequence))
    }

    /// An event is not in hand any more. Whether another reader may take one of its lane now.
    pub(super) fn settle(&mut self, lane: u8, sequence: u64, done: bool) -> bool {
        let Some(state) = self.0.get_mut(&lane) else { return false };
        let holder = state.holder.take();
        if !done {
            state.waiting.insert(sequence);
            state.shunned_by = holder.map(|(reader, _)| reader);
        }
        state.holder =
            holder.filter(|(_, in_hand)| *in_hand > 1).map(|(reader, in_hand)| (reader, in_hand - 1));
        let (held, waiting) = (state.holder.is_some(), !state.waiting.is_empty());
        if !held && !waiting {
            self.0.remove(&lane);
        }
        !held && waiting
    }

    /// Whether events wait to be taken.
    pub(super) fn has_waiting(&self) -> bool {
        self.0.values().any(|lane| !lane.waiting.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(events: &[(u8, u64)]) -> Lanes {
        let mut lanes = Lanes::default();
        events.iter().for_each(|&(lane, sequence)| lanes.wait(lane, sequence));
        lanes
    }

    #[test]
    fn a_lane_is_with_one_reader_until_all_of_it_is_settled() {
        let mut lanes = waiting(&[(1, 1), (1, 2), (2, 3)]);
        let (one, two) = (BTreeSet::from([10]), BTreeSet::from([10, 11]));
        assert_eq!(lanes.take(10, &one), Some((1, 1)));
        assert_eq!(lanes.take(11, &two), None, "lane 1 would be its own, and is in hand elsewhere");
        assert_eq!([lanes.take(10, &two), lanes.take(10, &two)], [Some((1, 2)), Some((2, 3))]);
        lanes.wait(1, 4);
        lanes.settle(1, 1, true);
        assert_eq!(lanes.take(11, &two), None);
        lanes.settle(1, 2, true);
        assert_eq!(lanes.take(11, &two), Some((1, 4)));
    }

    #[test]
    fn each_reader_has_its_share() {
        let mut lanes = waiting(&(0..64).map(|lane| (lane, u64::from(lane))).collect::<Vec<_>>());
        let readers = BTreeSet::from([3, 7, 9]);
        let mut shares =
            readers.iter().map(|reader| std::iter::from_fn(|| lanes.take(*reader, &readers)).count());
        assert_eq!((shares.next(), shares.next(), shares.next()), (Some(22), Some(21), Some(21)));
    }

    #[test]
    fn what_was_not_settled_comes_before_what_is_later_and_goes_to_another() {
        let mut lanes = waiting(&[(2, 1), (2, 2), (2, 3)]);
        let readers = BTreeSet::from([10, 11]);
        assert_eq!([lanes.take(10, &readers), lanes.take(10, &readers)], [Some((2, 1)), Some((2, 2))]);
        lanes.settle(2, 1, false);
        assert_eq!(
            [lanes.take(10, &readers), lanes.take(11, &readers)],
            [None, None],
            "one is still in hand"
        );
        lanes.settle(2, 2, false);
        assert_eq!(lanes.take(10, &readers), None);
        assert_eq!([lanes.take(11, &readers), lanes.take(11, &readers)], [Some((2, 1)), Some((2, 2))]);
    }

    #[test]
    fn a_reader_that_is_alone_gets_back_what_it_did_not_settle() {
        let mut lanes = waiting(&[(1, 1)]);
        let alone = BTreeSet::from([10]);
        assert_eq!(lanes.take(10, &alone), Some((1, 1)));
        lanes.settle(1, 1, false);
        assert!(lanes.has_waiting());
        assert_eq!(lanes.take(10, &alone), Some((1, 1)));
        lanes.settle(1, 1, true);
        assert!(!lanes.has_waiting());
    }
}
