use std::fmt;

use convoke_core::{BoxError, TransportError, TransportErrorKind};

/// NATS could not be used.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    source: BoxError,
}

/// What a caller can branch on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The configuration cannot work: a malformed address, a file that cannot be read.
    Config,
    /// The server, or what it holds, does not allow it: credentials, version, a stream that differs.
    Refused,
    /// The server is away.
    Unavailable,
}

impl Error {
    pub(crate) fn config(source: impl Into<BoxError>) -> Self {
        Self { kind: ErrorKind::Config, source: source.into() }
    }
    pub(crate) fn refused(source: impl Into<BoxError>) -> Self {
        Self { kind: ErrorKind::Refused, source: source.into() }
    }
    pub(crate) fn unavailable(source: impl Into<BoxError>) -> Self {
        Self { kind: ErrorKind::Unavailable, source: source.into() }
    }
    /// What a caller can branch on.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
    /// Whether trying again cannot help.
    pub(crate) fn is_permanent(&self) -> bool {
        self.kind != ErrorKind::Unavailable
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f) // it is a whole sentence for the operator
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.source()
    }
}

impl From<Error> for TransportError {
    fn from(error: Error) -> Self {
        let kind = match error.kind {
            ErrorKind::Config | ErrorKind::Refused => TransportErrorKind::Refused,
            ErrorKind::Unavailable => TransportErrorKind::Unavailable,
        };
        Self::new(kind, error.source)
    }
}
