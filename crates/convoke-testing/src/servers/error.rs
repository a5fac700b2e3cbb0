use std::fmt;

/// A server could not be started.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

/// What a caller can branch on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// This machine has no such program, or only one that is too old.
    Missing,
    /// The program is there, and did not come up.
    Failed,
}

impl Error {
    pub(super) fn missing(message: String) -> Self {
        Self { kind: ErrorKind::Missing, message }
    }

    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Failed, message: message.into() }
    }

    /// Whether the program is missing or did not come up.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
