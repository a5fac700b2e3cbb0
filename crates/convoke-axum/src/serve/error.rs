use std::fmt;
use std::path::Path;

/// A server could not start. The text says what to change, and in which file.
#[derive(Debug)]
pub struct ServeError {
    kind: ServeErrorKind,
    text: String,
}

/// What kept a server from starting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServeErrorKind {
    /// A limit in the configuration is of no use.
    Config,
    /// A certificate or key could not be read, or they do not fit together.
    Tls,
}

impl ServeError {
    pub(super) fn new(kind: ServeErrorKind, text: String) -> Self {
        Self { kind, text }
    }

    /// A file of certificates or keys that cannot be used.
    pub(crate) fn file(what: &str, path: &Path, reason: &str) -> Self {
        let path = path.display();
        Self::new(ServeErrorKind::Tls, format!("cannot use the TLS {what} {path}: {reason}"))
    }

    /// What a caller can branch on.
    pub fn kind(&self) -> ServeErrorKind {
        self.kind
    }
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for ServeError {}
