use std::fmt;

use convoke_core::{BoxError, Executed};
use serde::{Deserialize, Serialize};

/// The cluster could not do what it was asked.
///
/// The text is a sentence for a person, [`kind`](Self::kind) is for programs, and [`executed`](Self::executed) says
/// whether asking again is safe.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<BoxError>,
}

/// What a caller can branch on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No leader was found before the deadline. Nothing was done.
    NoLeader,
    /// The leader did not hear from a majority before the deadline. Nothing was done.
    NoQuorum,
    /// Only the leader does this, and this node is not the leader. Nothing was done.
    NotLeader,
    /// No answer before the deadline. It may have been done, or may still be.
    TimedOut,
    /// It is so old that the cluster no longer knows whether it was done.
    Forgotten,
    /// More bytes than one entry of the log takes. Nothing was done.
    TooLarge {
        /// How many there are.
        bytes: u64,
        /// How many there may be.
        bytes_max: u64,
    },
    /// More is under way than the node takes. Nothing was done.
    Overloaded,
    /// The cluster refuses: the text says why. Nothing was done, and the same request will be refused again.
    Refused,
    /// There is no room: something must be deleted first. Nothing was done.
    Full,
    /// Somebody else held the lock until the deadline. Nothing was done.
    Held,
    /// The lock is no longer held: its lease ended before it was renewed. Nothing was done.
    Lost,
    /// Somebody came before with a newer fence. Nothing was done.
    Fenced {
        /// The newest fence that was seen.
        newest: u64,
    },
    /// Another node could not be reached. Nothing was done.
    Unavailable,
    /// This node stopped. What was under way may have been done.
    Stopped,
    /// The configuration is wrong: the text names each key and its remedy.
    Config,
    /// The disk failed, or holds what is not ours. The node does not go on.
    Storage,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    pub(crate) fn no_leader() -> Self {
        Self::new(ErrorKind::NoLeader, "no leader was found in time: is a majority of the members up?")
    }

    pub(crate) fn no_quorum() -> Self {
        Self::new(ErrorKind::NoQuorum, "the leader did not hear from a majority in time")
    }

    pub(crate) fn not_leader() -> Self {
        Self::new(ErrorKind::NotLeader, "this node does not lead")
    }

    /// What this node must have applied before it may answer did not arrive in time.
    pub(crate) fn behind() -> Self {
        Self::new(ErrorKind::NoQuorum, "this node did not catch up with the leader in time")
    }

    pub(crate) fn timed_out() -> Self {
        Self::new(ErrorKind::TimedOut, "no answer in time: it may have been done")
    }

    pub(crate) fn forgotten() -> Self {
        Self::new(ErrorKind::Forgotten, "it came so late that whether it was done is no longer known")
    }

    pub(crate) fn too_large(bytes: u64, bytes_max: u64) -> Self {
        let message = format!("{bytes} bytes are more than the {bytes_max} that one entry of the log takes");
        Self::new(ErrorKind::TooLarge { bytes, bytes_max }, message)
    }

    pub(crate) fn overloaded(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Overloaded, message)
    }

    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Refused, message)
    }

    pub(crate) fn full(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Full, message)
    }

    pub(crate) fn held(lock: &str) -> Self {
        Self::new(ErrorKind::Held, format!("somebody else held the lock {lock:?} all the time"))
    }

    pub(crate) fn lost(lock: &str) -> Self {
        Self::new(ErrorKind::Lost, format!("the lock {lock:?} is no longer held: its lease ended"))
    }

    pub(crate) fn fenced(newest: u64) -> Self {
        Self::new(ErrorKind::Fenced { newest }, format!("somebody came before with the newer fence {newest}"))
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    pub(crate) fn stopped() -> Self {
        Self::new(ErrorKind::Stopped, "this node of the cluster stopped")
    }

    pub(crate) fn config(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, message)
    }

    pub(crate) fn storage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Storage, message)
    }

    pub(crate) fn because(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What a caller can branch on.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether what was asked for was done. After [`Executed::No`], asking again is safe; a proposal that is repeated
    /// through the same client is applied once in any case.
    #[must_use]
    pub fn executed(&self) -> Executed {
        match self.kind {
            ErrorKind::TimedOut | ErrorKind::Stopped | ErrorKind::Forgotten => Executed::Unknown,
            ErrorKind::NoLeader
            | ErrorKind::NoQuorum
            | ErrorKind::NotLeader
            | ErrorKind::TooLarge { .. }
            | ErrorKind::Overloaded
            | ErrorKind::Refused
            | ErrorKind::Full
            | ErrorKind::Held
            | ErrorKind::Lost
            | ErrorKind::Fenced { .. }
            | ErrorKind::Unavailable
            | ErrorKind::Config
            | ErrorKind::Storage => Executed::No,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}
