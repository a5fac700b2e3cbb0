//! The same rules, told as plainly as possible.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{Answer, Command};

#[derive(Debug, Clone, Copy)]
pub(super) struct Claim {
    pub(super) owner: Uuid,
    pub(super) fence: u64,
    ttl: u64,
    ends: u64,
}

/// A list for each lock: the first one holds it, the others wait.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) locks: BTreeMap<String, Vec<Claim>>,
}

impl Model {
    /// Ends what is over at `now`.
    pub(super) fn settle(&mut self, name: &str, index: u64, now: u64) {
        let list = self.locks.entry(name.to_owned()).or_default();
        if list.first().is_some_and(|holder| holder.ends <= now) {
            list.remove(0);
            Self::promote(list, index, now);
        }
    }

    fn promote(list: &mut Vec<Claim>, index: u64, now: u64) {
        list.retain(|waiter| waiter.ends > now);
        if let Some(next) = list.first_mut() {
            next.fence = index;
            next.ends = now + next.ttl;
        }
    }

    pub(super) fn run(&mut self, index: u64, now: u64, command: &Command) -> Answer {
        self.settle(command.name(), index, now);
        let list = self.locks.entry(command.name().to_owned()).or_default();
        match command {
            Command::Acquire { owner, ttl_ms, wait, .. } => {
                let claim = Claim { owner: *owner, fence: index, ttl: *ttl_ms, ends: now + ttl_ms };
                Self::acquire(list, claim, *wait, now)
            }
            Command::Renew { owner, fence, .. } => match list.first_mut() {
                Some(holder) if holder.owner == *owner && holder.fence == *fence => {
                    holder.ends = now + holder.ttl;
                    Answer::Granted { fence: *fence }
                }
                _ => Answer::Lost,
            },
            Command::Release { owner, .. } => {
                let place = list.iter().position(|claim| claim.owner == *owner);
                if let Some(place) = place {
                    list.remove(place);
                }
                if place == Some(0) {
                    Self::promote(list, index, now);
                }
                Answer::Released { was_there: place.is_some() }
            }
        }
    }

    fn acquire(list: &mut Vec<Claim>, claim: Claim, wait: bool, now: u64) -> Answer {
        let Some(holder) = list.first_mut() else {
            list.push(claim);
            return Answer::Granted { fence: claim.fence };
        };
        if holder.owner == claim.owner {
            (holder.ttl, holder.ends) = (claim.ttl, claim.ends);
            return Answer::Granted { fence: holder.fence };
        }
        if !wait {
            return Answer::Held;
        }
        let holder = list.remove(0);
        list.retain(|waiter| waiter.ends > now);
        list.insert(0, holder);
        let place = match list.iter().position(|waiter| waiter.owner == claim.owner) {
            Some(place) => {
                list[place] = claim;
                place
            }
            None => {
                list.push(claim);
                list.len() - 1
            }
        };
        Answer::Queued { ahead: place as u32 - 1 }
    }
}
