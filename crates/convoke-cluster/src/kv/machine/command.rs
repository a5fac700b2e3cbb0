use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::kv::limits::{KEY_BYTES_MAX, SCOPE_BYTES_MAX, VALUE_BYTES_MAX};

/// What is asked of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Command {
    Put { key: Bytes, value: Bytes, ttl_ms: Option<u64>, when: When, fence: Option<(Bytes, u64)> },
    Delete { key: Bytes, when: When, fence: Option<(Bytes, u64)> },
}

/// What must be true of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum When {
    Always,
    Absent,
    Version(u64),
}

/// What it came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    Done { index: u64, existed: bool },
    Conflict { current: Option<u64> },
    Fenced { newest: u64 },
    Refused(Refusal),
}

/// Why nothing was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Refusal {
    Unreadable,
    NoKey,
    Key { bytes: u64 },
    Value { bytes: u64 },
    Scope { bytes: u64 },
    Ttl,
    Full,
}

impl Command {
    pub(super) fn target(&self) -> (&Bytes, When, &Option<(Bytes, u64)>) {
        let (Self::Put { key, when, fence, .. } | Self::Delete { key, when, fence }) = self;
        (key, *when, fence)
    }

    /// What breaks a limit. Asked before it is proposed, and again by every member.
    pub(in crate::kv) fn refusal(&self) -> Option<Refusal> {
        let (key, _, fence) = self.target();
        let scope = fence.as_ref().map_or(0, |(scope, _)| scope.len());
        let (value, ttl_ms) = match self {
            Self::Put { value, ttl_ms, .. } => (value.len(), *ttl_ms),
            Self::Delete { .. } => (0, None),
        };
        match () {
            () if key.is_empty() => Some(Refusal::NoKey),
            () if key.len() > KEY_BYTES_MAX => Some(Refusal::Key { bytes: key.len() as u64 }),
            () if value > VALUE_BYTES_MAX => Some(Refusal::Value { bytes: value as u64 }),
            () if scope > SCOPE_BYTES_MAX => Some(Refusal::Scope { bytes: scope as u64 }),
            () if ttl_ms == Some(0) => Some(Refusal::Ttl),
            () => None,
        }
    }
}

impl When {
    pub(super) fn holds(self, current: Option<u64>) -> bool {
        match self {
            Self::Always => true,
            Self::Absent => current.is_none(),
            Self::Version(version) => current == Some(version),
        }
    }
}
