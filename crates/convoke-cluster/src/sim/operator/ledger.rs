use std::collections::{BTreeMap, BTreeSet};

use super::Wish;
use crate::{Member, NodeId};

/// Machines that come later have numbers from here on.
const NEXT_MACHINE: u64 = 11;

/// What was asked for and what was answered. It says what must be so, whatever became of what was not answered.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(super) names: BTreeMap<u64, String>,
    ids: BTreeMap<u64, NodeId>,
    /// They vote, and nobody asked for anything else since.
    voters: BTreeSet<u64>,
    /// They were added, and nobody asked for anything else since.
    learners: BTreeSet<u64>,
    /// Removed, and that was answered.
    removed: BTreeSet<NodeId>,
    /// Machines of those that were removed, until they are gone.
    pub(super) left: BTreeSet<u64>,
    /// The machine that is gone for good while it may still be a member.
    pub(super) dead: Option<u64>,
    /// The change that was asked for last, when it was not answered.
    pub(super) unsettled: Option<Wish>,
    next_machine: u64,
}

impl Ledger {
    pub(crate) fn new(founders: &BTreeMap<NodeId, Member>) -> Self {
        Self {
            names: founders.iter().map(|(id, member)| (*id, member.name.clone())).collect(),
            ids: founders.keys().map(|id| (*id, *id)).collect(),
            voters: founders.keys().copied().collect(),
            learners: BTreeSet::new(),
            removed: BTreeSet::new(),
            left: BTreeSet::new(),
            dead: None,
            unsettled: None,
            next_machine: NEXT_MACHINE,
        }
    }

    pub(super) fn next_machine(&mut self) -> u64 {
        self.next_machine += 1;
        self.next_machine - 1
    }

    pub(super) fn voters(&self) -> Vec<u64> {
        self.voters.iter().copied().collect()
    }

    pub(super) fn learners(&self) -> Vec<u64> {
        self.learners.iter().copied().collect()
    }

    pub(super) fn id(&self, machine: u64) -> Option<NodeId> {
        self.ids.get(&machine).copied()
    }

    pub(super) fn died(&mut self, machine: u64) {
        self.voters.remove(&machine);
        self.dead = Some(machine);
    }

    /// From now on it may be so.
    pub(super) fn asks(&mut self, wish: Wish) {
        self.unsettled = Some(wish);
        match wish {
            Wish::Add { .. } => {}
            Wish::Promote { machine } => drop(self.learners.remove(&machine)),
            Wish::Remove { machine, .. } => {
                self.voters.remove(&machine);
                self.learners.remove(&machine);
            }
            Wish::Replace { old, new } => {
                self.voters.remove(&old);
                self.learners.remove(&new);
            }
        }
    }

    /// From now on it is so.
    pub(super) fn done(&mut self, wish: Wish, id: NodeId) {
        self.unsettled = None;
        match wish {
            Wish::Add { machine } => {
                self.ids.insert(machine, id);
                self.learners.insert(machine);
            }
            Wish::Promote { machine } => drop(self.voters.insert(machine)),
            Wish::Remove { machine, .. } => self.left(machine),
            Wish::Replace { old, new } => {
                self.voters.insert(new);
                self.left(old);
            }
        }
    }

    fn left(&mut self, machine: u64) {
        self.removed.extend(self.ids.get(&machine));
        if self.dead == Some(machine) {
            self.dead = None;
        } else {
            self.left.insert(machine);
        }
    }

    /// How this is called when it is done.
    pub(super) fn kind(&self, wish: Wish) -> &'static str {
        match wish {
            Wish::Add { .. } => "learner added",
            Wish::Promote { .. } => "learner promoted",
            Wish::Remove { led: true, .. } => "leader removed",
            Wish::Remove { .. } => "member removed",
            Wish::Replace { old, .. } if self.dead == Some(old) => "dead voter replaced",
            Wish::Replace { .. } => "voter replaced",
        }
    }

    /// What is not so, of these members and whether each votes.
    pub(crate) fn complaints(&self, members: &BTreeMap<NodeId, bool>) -> Vec<String> {
        let back = self.removed.iter().filter(|id| members.contains_key(id));
        let back = back.map(|id| format!("{id} was removed and is a member: {members:?}"));
        let voters = self.voters.iter().filter_map(|machine| self.id(*machine));
        let lost = voters.filter(|id| members.get(id) != Some(&true));
        let lost = lost.map(|id| format!("{id} was made a voter and is none: {members:?}"));
        let learners = self.learners.iter().filter_map(|machine| self.id(*machine));
        let other = learners.filter(|id| members.get(id) != Some(&false));
        let other = other.map(|id| format!("{id} was added to follow and does not: {members:?}"));
        back.chain(lost).chain(other).collect()
    }
}
