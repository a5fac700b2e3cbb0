use serde::{Deserialize, Serialize};

use super::kind::Kind;

/// What a connection is for. Each has its own, so that nothing urgent waits behind something large.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Lane {
    /// Entries of the log, many on their way at once.
    Log,
    /// Heartbeats, votes and transfers: what decides who leads.
    Control,
    /// Snapshots.
    Snapshot,
    /// What a member asks for its clients.
    Calls,
}

impl Lane {
    /// What the caller may send.
    pub(crate) fn asks(self) -> &'static [Kind] {
        match self {
            Self::Log => &[Kind::Append, Kind::AppendEnd],
            Self::Control => &[Kind::Vote, Kind::PreVote, Kind::Heartbeat, Kind::Transfer],
            Self::Snapshot => &[Kind::SnapshotBegin, Kind::SnapshotChunk, Kind::SnapshotEnd],
            Self::Calls => &[Kind::Ask],
        }
    }

    /// What the listener may send.
    pub(crate) fn answers(self) -> &'static [Kind] {
        match self {
            Self::Log => &[Kind::Appended, Kind::Failed],
            Self::Control | Self::Snapshot | Self::Calls => &[Kind::Answer, Kind::Failed],
        }
    }
}
