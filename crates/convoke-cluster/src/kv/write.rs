use std::time::Duration;

use bytes::Bytes;

use super::machine::{Command, When};

/// One change of one key, not yet sent anywhere. For [`Guard::fenced_write`](crate::locks::Guard::fenced_write).
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "it does nothing until it is written"]
pub struct Write {
    command: Command,
}

/// What must be true of a key for a write to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Nothing is there.
    Absent,
    /// What is there has this version.
    Version(u64),
}

impl Write {
    /// Writes a value.
    pub fn put(key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> Self {
        let key = Bytes::copy_from_slice(key.as_ref());
        let command =
            Command::Put { key, value: value.into(), ttl_ms: None, when: When::Always, fence: None };
        Self { command }
    }

    /// Deletes the key.
    pub fn delete(key: impl AsRef<[u8]>) -> Self {
        let key = Bytes::copy_from_slice(key.as_ref());
        Self { command: Command::Delete { key, when: When::Always, fence: None } }
    }

    /// Ends the value after so long, by the time of the log. Says nothing about a deletion.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        if let Command::Put { ttl_ms, .. } = &mut self.command {
            *ttl_ms = Some(u64::try_from(ttl.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX));
        }
        self
    }

    pub(super) fn expecting(mut self, expected: impl Into<Expected>) -> Self {
        let (Command::Put { when, .. } | Command::Delete { when, .. }) = &mut self.command;
        *when = match expected.into() {
            Expected::Absent => When::Absent,
            Expected::Version(version) => When::Version(version),
        };
        self
    }

    pub(super) fn fenced(mut self, name: &str, token: u64) -> Self {
        let (Command::Put { fence, .. } | Command::Delete { fence, .. }) = &mut self.command;
        *fence = Some((Bytes::copy_from_slice(name.as_bytes()), token));
        self
    }

    pub(super) fn command(&self) -> &Command {
        &self.command
    }
}

impl From<u64> for Expected {
    fn from(version: u64) -> Self {
        Self::Version(version)
    }
}

impl From<Option<u64>> for Expected {
    fn from(version: Option<u64>) -> Self {
        version.map_or(Self::Absent, Self::Version)
    }
}
