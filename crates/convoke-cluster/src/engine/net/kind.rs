/// What a frame carries. The numbers are the protocol: one that was used is never used for something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Who calls whom, about what. The caller's first frame.
    Hello = 1,
    /// What the caller has to sign.
    Challenge = 2,
    /// The caller's signature.
    Proof = 3,
    /// The listener's signature: both are who they say.
    Welcome = 4,
    /// Why there is no conversation.
    Refused = 5,

    /// The answer to a request, under its ticket.
    Answer = 16,
    /// The request could not be answered, and why.
    Failed = 17,

    /// A vote is asked for.
    Vote = 32,
    /// Whether a vote would be given.
    PreVote = 33,
    /// Entries, outside a session: heartbeats have none.
    Heartbeat = 34,
    /// Another member shall lead.
    Transfer = 35,

    /// Entries, as one of many in a session.
    Append = 48,
    /// The session has no more entries.
    AppendEnd = 49,
    /// How far the entries were taken.
    Appended = 50,

    /// A snapshot is offered.
    SnapshotBegin = 64,
    /// A part of the snapshot.
    SnapshotChunk = 65,
    /// The snapshot is complete.
    SnapshotEnd = 66,

    /// A question of a member's clients.
    Ask = 80,
}

/// A handshake's frames: whoever sends them is not known yet.
const HANDSHAKE_BYTES_MAX: usize = 4 * 1024;
/// Votes, and whatever else is a few numbers and a membership.
const SMALL_BYTES_MAX: usize = 64 * 1024;
/// The entries of one append. A sender with more of them sends several.
pub(crate) const APPEND_BYTES_MAX: usize = 8 * 1024 * 1024;
/// One part of a snapshot, and its place.
pub(crate) const CHUNK_BYTES_MAX: usize = 1024 * 1024;
/// One command with room for what stands around it, or its answer.
const ASK_BYTES_MAX: usize = 4 * 1024 * 1024;

impl Kind {
    pub(super) const ALL: [Self; 18] = [
        Self::Hello,
        Self::Challenge,
        Self::Proof,
        Self::Welcome,
        Self::Refused,
        Self::Answer,
        Self::Failed,
        Self::Vote,
        Self::PreVote,
        Self::Heartbeat,
        Self::Transfer,
        Self::Append,
        Self::AppendEnd,
        Self::Appended,
        Self::SnapshotBegin,
        Self::SnapshotChunk,
        Self::SnapshotEnd,
        Self::Ask,
    ];

    pub(crate) fn of(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }

    /// The longest body of this kind.
    pub(crate) fn body_bytes_max(self) -> usize {
        match self {
            Self::Hello | Self::Challenge | Self::Proof | Self::Welcome | Self::Refused => {
                HANDSHAKE_BYTES_MAX
            }
            Self::Failed
            | Self::Vote
            | Self::PreVote
            | Self::Heartbeat
            | Self::Transfer
            | Self::AppendEnd
            | Self::Appended
            | Self::SnapshotBegin
            | Self::SnapshotEnd => SMALL_BYTES_MAX,
            Self::Append => APPEND_BYTES_MAX,
            // The data's place stands before it.
            Self::SnapshotChunk => CHUNK_BYTES_MAX + 64,
            Self::Answer | Self::Ask => ASK_BYTES_MAX,
        }
    }
}
