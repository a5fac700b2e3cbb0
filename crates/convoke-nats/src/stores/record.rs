use std::time::Duration;

use bytes::Bytes;
use convoke_core::{Claim, StoreError, StoredOutcome};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The form that is written, and the only one that is read.
const VERSION: u8 = 1;

/// A claim as it is stored, in MessagePack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    version: u8,
    pub(super) state: State,
    pub(super) owner: Uuid,
    /// The revision of the claim's own write; 0 in that write, which cannot know it.
    pub(super) fence: u64,
    pub(super) message_id: Uuid,
    pub(super) fingerprint: u128,
    pub(super) attempt: u32,
    /// Counted from the time the server gave this revision.
    lease_ms: u64,
    pub(super) answer: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub(super) enum State {
    Running = 0,
    Released = 1,
    Replied = 2,
    Rejected = 3,
}

impl From<State> for u8 {
    fn from(state: State) -> Self {
        state as Self
    }
}

impl TryFrom<u8> for State {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, String> {
        [Self::Running, Self::Released, Self::Replied, Self::Rejected]
            .into_iter()
            .find(|state| u8::from(*state) == number)
            .ok_or_else(|| format!("{number} is no state of a claim"))
    }
}

impl Record {
    /// A run under this claim.
    pub(super) fn running(claim: &Claim, fence: u64, message_id: Uuid, attempt: u32) -> Self {
        Self {
            version: VERSION,
            state: State::Running,
            owner: claim.owner,
            fence,
            message_id,
            fingerprint: claim.fingerprint,
            attempt,
            lease_ms: ms(claim.lease),
            answer: Bytes::new(),
        }
    }
    pub(super) fn renewed(&self, lease: Duration) -> Self {
        Self { lease_ms: ms(lease), ..self.clone() }
    }
    pub(super) fn released(&self) -> Self {
        Self { state: State::Released, lease_ms: 0, ..self.clone() }
    }
    pub(super) fn ended(&self, outcome: &StoredOutcome) -> Self {
        let state = if outcome.rejected { State::Rejected } else { State::Replied };
        Self { state, lease_ms: 0, answer: outcome.answer.clone(), ..self.clone() }
    }

    /// The same, with the fence of the claim it goes on with.
    pub(super) fn fenced(self, fence: u64) -> Self {
        Self { fence, ..self }
    }

    pub(super) fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_ms)
    }
    /// How it ended, when it did.
    pub(super) fn outcome(&self) -> Option<StoredOutcome> {
        let rejected = match self.state {
            State::Running | State::Released => return None,
            State::Replied => false,
            State::Rejected => true,
        };
        Some(StoredOutcome { rejected, answer: self.answer.clone() })
    }

    pub(super) fn encode(&self) -> Bytes {
        rmp_serde::to_vec(self).expect("a record has nothing that MessagePack cannot hold").into()
    }
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let unreadable = |why: String| StoreError::refused(format!("a stored claim is none of ours: {why}"));
        let record: Self = rmp_serde::from_slice(bytes).map_err(|error| unreadable(error.to_string()))?;
        match record.version {
            VERSION => Ok(record),
            other => Err(unreadable(format!("its form is {other}, this version reads {VERSION}"))),
        }
    }
}

/// Rounded up, so that a lease is never shorter than it was asked for.
fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let claim = Claim {
            owner: Uuid::from_u128(1),
            message_id: Uuid::from_u128(2),
            fingerprint: u128::MAX - 1,
            lease: Duration::from_micros(1500),
        };
        Record::running(&claim, 0, claim.message_id, 1)
    }

    #[test]
    fn a_record_comes_back_in_every_state() {
        let running = record();
        let outcome = |rejected| StoredOutcome { rejected, answer: vec![0, 0xff].into() };
        let all =
            [running.released(), running.ended(&outcome(false)), running.ended(&outcome(true)), running];
        for record in all {
            assert_eq!(Record::decode(&record.encode()).expect("ours"), record);
        }
        assert_eq!(record().lease(), Duration::from_millis(2), "rounded up");
        assert_eq!(record().ended(&outcome(true)).outcome(), Some(outcome(true)));
    }

    #[test]
    fn a_record_is_small() {
        assert!(record().encode().len() < 90, "{}", record().encode().len());
    }

    #[test]
    fn what_we_did_not_write_is_told() {
        let later = Record { version: 2, ..record() };
        let text = Record::decode(&later.encode()).expect_err("of a later version").to_string();
        assert!(text.contains("its form is 2"), "{text}");
        assert!(Record::decode(b"x").is_err());
        let mut odd = record().encode().to_vec();
        odd[2] = 9; // the state
        assert!(Record::decode(&odd).expect_err("no state").to_string().contains("9 is no state"));
    }
}
