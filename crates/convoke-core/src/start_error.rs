use std::fmt;

use crate::{BuildError, TransportError};

/// Why a node did not start, or ended: one clear text that says what to do.
pub struct Error {
    kind: ErrorKind,
    text: String,
}

/// What a caller can branch on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The wiring is wrong; nothing was connected.
    Build,
    /// A broker, a store or the configuration refuses for good.
    Start,
}

impl Error {
    /// The node cannot run, for this reason.
    pub fn start(text: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Start, text: text.into() }
    }
    /// What a caller can branch on.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl From<BuildError> for Error {
    fn from(error: BuildError) -> Self {
        Self { kind: ErrorKind::Build, text: error.to_string() }
    }
}

impl From<TransportError> for Error {
    fn from(error: TransportError) -> Self {
        Self::start(error.to_string())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// As `Display`, so that `main` shows the whole text.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}
