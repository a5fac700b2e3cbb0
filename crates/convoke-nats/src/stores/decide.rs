//! What a claim or a change comes to, given what is stored. Nothing here waits or writes.

use std::time::Duration;

use convoke_core::{Claim, Claimed, Holder};
use uuid::Uuid;

use super::record::{Record, State};

/// What is stored under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// The latest revision; 0 when there was none.
    pub(super) revision: u64,
    /// When the server stored it, in nanoseconds of its clock.
    pub(super) at: i64,
    /// `None` when there is none, or when it expired or was deleted and that is what the revision says.
    pub(super) record: Option<Record>,
}

/// What a claim does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Answer(Claimed),
    /// Stores this over the revision that was found; then the key is owned.
    Write(Record),
}

/// What became of a holder's wish to change its record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Standing<'a> {
    /// It holds the key.
    Holds(&'a Record),
    /// It held the key last, and ended or released that.
    Ended(State),
    /// Another one has it, or the record is gone.
    Lost,
}

impl Found {
    pub(super) const NOTHING: Self = Self { revision: 0, at: 0, record: None };

    /// The fence of a record that was found here.
    pub(super) fn fence(&self, record: &Record) -> u64 {
        if record.fence == 0 { self.revision } else { record.fence }
    }

    /// For how long the lease holds by the server's clock.
    pub(super) fn remaining(&self, now: i64) -> Duration {
        let Some(record) = self.record.as_ref().filter(|record| record.state == State::Running) else {
            return Duration::ZERO;
        };
        let held = Duration::from_nanos(u64::try_from(now.saturating_sub(self.at)).unwrap_or(0));
        record.lease().saturating_sub(held)
    }

    /// Whether the answer to a claim depends on the time.
    pub(super) fn may_be_busy(&self, claim: &Claim) -> bool {
        self.record.as_ref().is_some_and(|record| {
            record.state == State::Running
                && record.fingerprint == claim.fingerprint
                && record.owner != claim.owner
        })
    }

    /// How a claim goes on, when another's lease holds for `remaining`.
    pub(super) fn claim(&self, claim: &Claim, remaining: Duration) -> Step {
        let Some(record) = &self.record else {
            return Step::Write(Record::running(claim, 0, claim.message_id, 1));
        };
        if record.fingerprint != claim.fingerprint {
            return Step::Answer(Claimed::Mismatch);
        }
        if let Some(outcome) = record.outcome() {
            return Step::Answer(Claimed::Done(outcome));
        }
        if record.state == State::Running && record.owner == claim.owner {
            // The answer to this owner's first call was lost. The lease counts from what it can see.
            let renewed = record.renewed(record.lease().max(claim.lease));
            return Step::Write(renewed.fenced(self.fence(record)));
        }
        if !remaining.is_zero() {
            return Step::Answer(Claimed::Busy { remaining });
        }
        Step::Write(Record::running(claim, 0, record.message_id, record.attempt.saturating_add(1)))
    }

    /// How a holder stands.
    pub(super) fn standing(&self, holder: Holder) -> Standing<'_> {
        match &self.record {
            Some(record) if record.owner == holder.owner && self.fence(record) == holder.fence => {
                match record.state {
                    State::Running => Standing::Holds(record),
                    ended => Standing::Ended(ended),
                }
            }
            _ => Standing::Lost,
        }
    }
}

/// What the owner of a record that was stored as `revision` is told.
pub(super) fn owned(record: &Record, revision: u64) -> Claimed {
    let fence = if record.fence == 0 { revision } else { record.fence };
    let message_id: Uuid = record.message_id;
    Claimed::Owned { fence, message_id, attempt: record.attempt }
}

#[cfg(test)]
mod tests {
    use convoke_core::StoredOutcome;

    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn claim(owner: u128) -> Claim {
        Claim {
            owner: Uuid::from_u128(owner),
            message_id: Uuid::from_u128(100 + owner),
            fingerprint: 7,
            lease: Duration::from_secs(10),
        }
    }

    fn found(record: Record) -> Found {
        Found { revision: 5, at: SECOND, record: Some(record) }
    }

    fn running() -> Record {
        Record::running(&claim(1), 0, claim(1).message_id, 1)
    }

    #[test]
    fn a_free_key_is_written_also_over_what_is_left_of_an_expired_one() {
        let marker = Found { revision: 9, ..Found::NOTHING };
        for nothing in [Found::NOTHING, marker] {
            assert_eq!(nothing.claim(&claim(1), Duration::ZERO), Step::Write(running()));
        }
    }

    #[test]
    fn a_lease_ends_by_the_servers_times_alone() {
        let found = found(running());
        assert_eq!(found.remaining(SECOND), Duration::from_secs(10));
        assert_eq!(found.remaining(4 * SECOND), Duration::from_secs(7));
        assert_eq!(found.remaining(11 * SECOND), Duration::ZERO);
        // the server's clock went back: at most the lease is left, never more
        assert_eq!(found.remaining(-SECOND), Duration::from_secs(10));
    }

    #[test]
    fn another_owner_waits_and_then_takes_over_under_the_first_id() {
        let found = found(running());
        let remaining = Duration::from_secs(3);
        assert_eq!(found.claim(&claim(2), remaining), Step::Answer(Claimed::Busy { remaining }));
        let taken = Record::running(&claim(2), 0, claim(1).message_id, 2);
        assert_eq!(found.claim(&claim(2), Duration::ZERO), Step::Write(taken));
    }

    #[test]
    fn the_same_owner_is_told_its_fence_again() {
        let Step::Write(again) = found(running()).claim(&claim(1), Duration::ZERO) else {
            panic!("not written")
        };
        assert_eq!(again, running().fenced(5));
        let owned = owned(&again, 8);
        assert_eq!(owned, Claimed::Owned { fence: 5, message_id: claim(1).message_id, attempt: 1 });
    }

    #[test]
    fn another_payload_is_a_mismatch_in_every_state() {
        let other = Claim { fingerprint: 8, ..claim(1) };
        let outcome = StoredOutcome { rejected: false, answer: "x".into() };
        for record in [running(), running().released(), running().ended(&outcome)] {
            assert_eq!(found(record).claim(&other, Duration::ZERO), Step::Answer(Claimed::Mismatch));
        }
    }

    #[test]
    fn only_the_holder_with_the_latest_fence_holds() {
        let holder = Holder { owner: claim(1).owner, fence: 5 };
        let live = found(running());
        assert_eq!(live.standing(holder), Standing::Holds(&running()));
        assert_eq!(live.standing(Holder { fence: 4, ..holder }), Standing::Lost);
        assert_eq!(live.standing(Holder { owner: claim(2).owner, ..holder }), Standing::Lost);
        assert_eq!(Found { revision: 6, ..Found::NOTHING }.standing(holder), Standing::Lost);
        let released = found(running().released());
        assert_eq!(released.standing(holder), Standing::Ended(State::Released));
    }
}
