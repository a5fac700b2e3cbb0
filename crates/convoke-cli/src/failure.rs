use std::fmt;

use crate::Exit;

/// Why a command did not do what it was asked: one sentence that says what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    usage: bool,
    text: String,
}

impl Failure {
    /// It was asked for something that cannot work.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self { usage: true, text: text.into() }
    }

    /// It could not be done.
    pub(crate) fn failed(text: impl Into<String>) -> Self {
        Self { usage: false, text: text.into() }
    }

    /// How the program ends.
    #[must_use]
    pub fn exit(&self) -> Exit {
        if self.usage { Exit::Usage } else { Exit::Failed }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

impl From<convoke_nats::Error> for Failure {
    fn from(error: convoke_nats::Error) -> Self {
        let usage = error.kind() == convoke_nats::ErrorKind::Config;
        Self { usage, text: error.to_string() }
    }
}

impl From<convoke_redis::Error> for Failure {
    fn from(error: convoke_redis::Error) -> Self {
        let usage = error.kind() == convoke_redis::ErrorKind::Invalid;
        Self { usage, text: error.to_string() }
    }
}
