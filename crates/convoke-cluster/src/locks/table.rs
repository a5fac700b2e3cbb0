//! The replicated half of the locks: who holds what, and who waits. Pure, and the same on every member.

mod command;
mod image;
mod state;

use bytes::Bytes;
pub(crate) use command::{Answer, Command, Refusal};
use imbl::{OrdMap, OrdSet};
pub(crate) use state::Standing;
use state::State;
use uuid::Uuid;

use super::limits::{LOCKS_MAX, NAME_BYTES_MAX, TTL_MAX, TTL_MIN, WAITERS_MAX};
use crate::{At, coding};

/// Locks whose lease is ended by one entry of the log. What is due beyond them waits for the next.
pub(crate) const EXPIRED_PER_ENTRY: usize = 256;

/// Every lock that is held. One that nobody holds is not there: its next fence is larger in any case.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Table {
    locks: OrdMap<String, State>,
    /// When the lease of each lock's holder ends. Derived from `locks`.
    due: OrdSet<(u64, String)>,
}

impl Table {
    /// Applies an encoded [`Command`] and encodes its [`Answer`].
    pub(crate) fn apply(&mut self, at: At, command: &[u8]) -> Bytes {
        let answer = match coding::decode(command) {
            Some(command) => self.run(at, &command),
            None => Answer::Refused(Refusal::Unreadable),
        };
        coding::encode(&answer)
    }

    /// Ends leases that are over, and gives their locks to who waits.
    pub(crate) fn tick(&mut self, at: At) {
        for _ in 0..EXPIRED_PER_ENTRY {
            let Some((due, name)) = self.due.get_min().cloned() else { return };
            if due > at.steady_ms {
                return;
            }
            self.with(&name, |state| state.end_lease(at));
        }
    }

    /// When the first lease ends.
    pub(crate) fn next_expiry_ms(&self) -> Option<u64> {
        self.due.get_min().map(|(due, _)| *due)
    }

    /// What `owner` has of a lock.
    pub(crate) fn standing(&self, name: &str, owner: Uuid) -> Standing {
        self.locks.get(name).map_or(Standing::Absent, |state| state.standing(owner))
    }

    fn run(&mut self, at: At, command: &Command) -> Answer {
        if let Some(refusal) = refusal(command) {
            return Answer::Refused(refusal);
        }
        let name = command.name();
        if matches!(command, Command::Acquire { .. })
            && self.locks.len() >= LOCKS_MAX
            && !self.locks.contains_key(name)
        {
            return Answer::Refused(Refusal::TooManyLocks);
        }
        self.with(name, |state| {
            state.end_lease(at);
            match *command {
                Command::Acquire { owner, ttl_ms, wait, .. } => {
                    state.acquire(at, owner, ttl_ms, wait, WAITERS_MAX)
                }
                Command::Renew { owner, fence, .. } => state.renew(at, owner, fence),
                Command::Release { owner, .. } => state.release(at, owner),
            }
        })
    }

    /// Changes one lock, and keeps `due` in step.
    fn with<T>(&mut self, name: &str, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.locks.remove(name).unwrap_or_default();
        let before = state.due();
        let result = change(&mut state);
        if before != state.due() {
            before.and_then(|due| self.due.remove(&(due, name.to_owned())));
            state.due().and_then(|due| self.due.insert((due, name.to_owned())));
        }
        if !state.is_free() {
            self.locks.insert(name.to_owned(), state);
        }
        result
    }
}

/// Limits are checked where the command begins, and once more here: the log is read by every member.
fn refusal(command: &Command) -> Option<Refusal> {
    let name = command.name();
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Some(Refusal::Name);
    }
    let Command::Acquire { ttl_ms, .. } = command else { return None };
    let ttl = std::time::Duration::from_millis(*ttl_ms);
    (ttl < TTL_MIN || ttl > TTL_MAX).then_some(Refusal::Ttl)
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
