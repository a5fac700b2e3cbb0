//! Decides whose each span should be.

use std::collections::BTreeMap;

use super::assignment::Assignment;

/// What a node knows about the members of a group, itself among them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct View {
    /// Who is there, and whether it takes spans.
    pub(super) members: BTreeMap<String, bool>,
    /// We have not listened for long: owners that were not heard of may be there all the same.
    pub(super) just_came: bool,
    /// All members want the same names as we do.
    pub(super) of_one_mind: bool,
}

/// A member is a run of a node: `<node id>/<run>`.
fn node_of(member: &str) -> &str {
    member.split_once('/').map_or(member, |(node, _)| node)
}

impl View {
    /// Whether an owner is there, as far as we can tell. An earlier run of a node whose id runs now is not.
    fn is_there(&self, owner: &str) -> bool {
        let succeeded = || self.members.keys().any(|member| node_of(member) == node_of(owner));
        self.members.contains_key(owner) || (self.just_came && !succeeded())
    }

    /// The names to ask for: never fewer than another member may want.
    pub(super) fn names(&self, known: &[String], ours: &[String]) -> Vec<String> {
        let mut names = ours.to_vec();
        if !self.of_one_mind || self.just_came {
            names.extend(known.iter().filter(|name| !ours.contains(name)).cloned());
        }
        names.sort();
        names
    }
}

impl Assignment {
    /// What it should be: spans of members that are gone go to others at once, and the rest is levelled out with as
    /// few moves as can be, each when its owner lets go.
    pub(super) fn planned(&self, view: &View, ours: &[String]) -> Self {
        let mut plan = self.clone();
        let names = view.names(&plan.names, ours);
        if names != plan.names {
            plan.names = names;
            plan.spans.iter_mut().for_each(|span| span.epoch += 1);
        }
        for span in &mut plan.spans {
            if span.next.as_deref().is_some_and(|next| !view.is_there(next)) {
                span.next = None;
            }
            if span.owner.as_deref().is_some_and(|owner| !view.is_there(owner)) {
                let next = span.next.take();
                span.give(next);
            }
        }
        plan.level(view);
        plan
    }

    fn level(&mut self, view: &View) {
        let mut room = self.room(view);
        let mut homeless = Vec::new();
        for (index, span) in self.spans.iter().enumerate() {
            match span.holder().and_then(|holder| room.get_mut(holder)) {
                Some(room) if *room > 0 => *room -= 1, // it stays
                _ => homeless.push(index),
            }
        }
        for index in homeless {
            let Some((neediest, left)) = room.iter_mut().max_by_key(|(_, left)| **left) else { return };
            *left = left.saturating_sub(1); // the shares add up, so there is room
            let (neediest, span) = (neediest.clone(), &mut self.spans[index]);
            match &span.owner {
                None => span.give(Some(neediest)),
                Some(owner) => span.next = (*owner != neediest).then_some(neediest),
            }
        }
    }

    /// How many spans each member that takes some should have. Those that have most already get the odd ones.
    fn room(&self, view: &View) -> BTreeMap<String, usize> {
        let mut takers: BTreeMap<String, usize> =
            view.members.iter().filter(|(_, takes)| **takes).map(|(member, _)| (member.clone(), 0)).collect();
        for holder in self.spans.iter().filter_map(|span| span.holder()) {
            match takers.get_mut(holder) {
                Some(held) => *held += 1,
                None if view.members.contains_key(holder) => {} // it goes
                None => drop(takers.insert(holder.to_owned(), 1)), // it may be there
            }
        }
        if takers.is_empty() {
            return takers;
        }
        let (share, odd) = (self.spans.len() / takers.len(), self.spans.len() % takers.len());
        let mut by_held: Vec<_> = takers.into_iter().collect();
        by_held.sort_by(|(a, a_held), (b, b_held)| b_held.cmp(a_held).then(a.cmp(b)));
        by_held
            .into_iter()
            .enumerate()
            .map(|(place, (member, _))| (member, share + usize::from(place < odd)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::assignment::SPANS, *};

    fn view(members: &[(&str, bool)]) -> View {
        let members = members.iter().map(|(member, takes)| ((*member).to_owned(), *takes)).collect();
        View { members, just_came: false, of_one_mind: true }
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn fresh() -> Assignment {
        Assignment::new(names(&["a"]), 7)
    }

    fn planned(from: &Assignment, members: &[(&str, bool)]) -> Assignment {
        from.planned(&view(members), &names(&["a"]))
    }

    /// How many spans each has, or will have.
    fn shares(of: &Assignment) -> Vec<(String, usize)> {
        let mut shares = BTreeMap::<String, usize>::new();
        for span in &of.spans {
            *shares.entry(span.holder().unwrap_or("nobody").to_owned()).or_default() += 1;
        }
        shares.into_iter().collect()
    }

    #[track_caller]
    fn check(of: &Assignment, expected: &[(&str, usize)]) {
        let expected: Vec<_> = expected.iter().map(|(who, count)| ((*who).to_owned(), *count)).collect();
        assert_eq!(shares(of), expected, "{of:?}");
    }

    fn handed_over(mut of: Assignment) -> Assignment {
        of.spans.iter_mut().filter(|span| span.next.is_some()).for_each(|span| span.ended(false));
        of
    }

    #[test]
    fn the_first_member_has_all_and_the_next_ones_get_their_share() {
        let one = planned(&fresh(), &[("a/1", true)]);
        check(&one, &[("a/1", SPANS)]);
        assert!(one.spans.iter().all(|span| span.epoch == 8 && span.next.is_none()));
        let two = planned(&one, &[("a/1", true), ("b/1", true)]);
        check(&two, &[("a/1", 8), ("b/1", 8)]);
        assert!(two.spans.iter().all(|span| span.owner.as_deref() == Some("a/1")), "until it lets go");
        let three = planned(&handed_over(two), &[("a/1", true), ("b/1", true), ("c/1", true)]);
        check(&three, &[("a/1", 6), ("b/1", 5), ("c/1", 5)]);
        assert_eq!(
            three.spans.iter().filter(|span| span.next.is_some()).count(),
            5,
            "no more moves than needed"
        );
    }

    #[test]
    fn a_plan_that_was_made_stays_as_it_is() {
        let members = [("a/1", true), ("b/1", true), ("c/1", true)];
        let plan = planned(&fresh(), &members);
        assert_eq!(planned(&plan, &members), plan);
        let handed_over = handed_over(plan);
        assert_eq!(planned(&handed_over, &members), handed_over);
    }

    #[test]
    fn what_the_dead_had_goes_to_the_living_at_once_under_a_new_epoch() {
        let two = handed_over(planned(&fresh(), &[("a/1", true), ("b/1", true)]));
        let left = planned(&two, &[("b/1", true)]);
        check(&left, &[("b/1", SPANS)]);
        for (before, after) in two.spans.iter().zip(&left.spans) {
            let moved = before.owner != after.owner;
            assert_eq!(after.epoch > before.epoch, moved, "{before:?} {after:?}");
            assert_eq!(after.next, None);
        }
    }

    #[test]
    fn who_goes_is_waited_for_and_gets_nothing() {
        let two = handed_over(planned(&fresh(), &[("a/1", true), ("b/1", true)]));
        let leaving = planned(&two, &[("a/1", false), ("b/1", true)]);
        check(&leaving, &[("b/1", SPANS)]);
        assert_eq!(leaving.spans.iter().filter(|span| span.owner.as_deref() == Some("a/1")).count(), 8);
        let alone = planned(&two, &[("a/1", false)]);
        assert!(alone.spans.iter().all(|span| span.next.is_none()), "there is nobody to give it to");
        let mut last = alone.spans[0].clone();
        last.ended(true);
        assert_eq!(last.owner, None);
    }

    #[test]
    fn a_node_that_just_came_takes_nothing_from_those_it_may_not_have_heard() {
        let one = planned(&fresh(), &[("a/1", true)]);
        let newcomer = View { just_came: true, ..view(&[("b/1", true)]) };
        let plan = one.planned(&newcomer, &names(&["a"]));
        assert!(plan.spans.iter().all(|span| span.owner.as_deref() == Some("a/1")));
        let restarted = View { just_came: true, ..view(&[("a/2", true)]) };
        check(&one.planned(&restarted, &names(&["a"])), &[("a/2", SPANS)]);
    }

    #[test]
    fn names_are_added_at_once_and_taken_away_when_nobody_wants_them() {
        let one = planned(&fresh(), &[("a/1", true)]);
        let mixed = View { of_one_mind: false, ..view(&[("a/1", true), ("b/1", true)]) };
        let both = one.planned(&mixed, &names(&["b"]));
        assert_eq!(both.names, ["a", "b"]);
        assert!(both.spans.iter().zip(&one.spans).all(|(now, before)| now.epoch == before.epoch + 1));
        assert_eq!(both.planned(&mixed, &names(&["a"])).names, ["a", "b"], "the older node takes none away");
        assert_eq!(both.planned(&view(&[("b/1", true)]), &names(&["b"])).names, ["b"]);
    }

    #[test]
    fn more_members_than_spans_leave_some_without() {
        let members: Vec<_> = (0..20).map(|n| format!("n{n:02}/1")).collect();
        let plan = planned(&fresh(), &members.iter().map(|m| (m.as_str(), true)).collect::<Vec<_>>());
        assert_eq!(shares(&plan).len(), SPANS);
    }
}
