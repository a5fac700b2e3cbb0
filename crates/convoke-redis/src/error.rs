use std::fmt;

use convoke_core::{BoxError, StoreError};
use redis::{ErrorKind as Redis, RedisError, ServerErrorKind as Server};

/// Redis cannot be used as it is configured, or could not be asked.
///
/// The text is one sentence for the person who starts the service. It never holds credentials.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<BoxError>,
}

/// What a caller can branch on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The configuration is wrong, whatever the server says.
    Invalid,
    /// The server refused the credentials, or one side the other's certificate.
    Unauthorized,
    /// The server is one we cannot work with.
    Unsupported,
    /// The server could not be reached. This may pass.
    Unavailable,
}

impl Error {
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Invalid, message: message.into(), source: None }
    }

    pub(crate) fn unauthorized(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Unauthorized, message: message.into(), source: None }
    }

    pub(crate) fn unsupported(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Unsupported, message: message.into(), source: None }
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Unavailable, message: message.into(), source: None }
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

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        match error.kind {
            ErrorKind::Unavailable => Self::unavailable(error),
            _ => Self::refused(error),
        }
    }
}

/// What an answer of Redis means for the call that got it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It may pass, and a repeat can help.
    Passing,
    /// As `Passing`, but this server became a replica: only another connection helps.
    Demoted,
    /// The credentials are refused. A connection that failed so never tries again by itself.
    Unauthorized,
    /// It will be the same next time.
    Lasting,
}

pub(crate) fn verdict(error: &RedisError) -> Verdict {
    match error.kind() {
        Redis::Server(Server::ReadOnly) => Verdict::Demoted,
        Redis::Io
        | Redis::ClusterConnectionNotFound
        | Redis::Parse
        | Redis::Server(
            Server::BusyLoading
            | Server::TryAgain
            | Server::ClusterDown
            | Server::MasterDown
            | Server::Moved
            | Server::Ask
            | Server::NoScript,
        ) => Verdict::Passing,
        Redis::AuthenticationFailed => Verdict::Unauthorized,
        _ => match error.code() {
            Some("NOAUTH" | "WRONGPASS") => Verdict::Unauthorized,
            // Full, cannot save, too few replicas, or busy with somebody's script.
            Some("OOM" | "MISCONF" | "NOREPLICAS" | "BUSY") => Verdict::Passing,
            _ => Verdict::Lasting,
        },
    }
}

/// The error of a call that is not repeated any more.
pub(crate) fn store_error(error: RedisError) -> StoreError {
    match verdict(&error) {
        Verdict::Passing | Verdict::Demoted => StoreError::unavailable(error),
        Verdict::Unauthorized | Verdict::Lasting => StoreError::refused(error),
    }
}
