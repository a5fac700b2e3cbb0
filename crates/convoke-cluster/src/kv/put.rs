use std::{future::IntoFuture, time::Duration};

use convoke_core::BoxFuture;

use super::{Kv, Write, machine::Answer};
use crate::{Error, ErrorKind};

/// A write that is made when it is awaited. Answers the version of the value: the place of the write in the log.
///
/// # Errors
/// [`ErrorKind::TimedOut`]: it may have been made, or may still be. [`ErrorKind::TooLarge`], [`ErrorKind::Full`] and
/// [`ErrorKind::Fenced`]: it was not.
#[derive(Debug, Clone)]
#[must_use = "it does nothing until it is awaited"]
pub struct Put {
    kv: Kv,
    write: Write,
    timeout: Duration,
}

/// A deletion that is made when it is awaited. Answers whether the key was there.
///
/// # Errors
/// As for [`Put`].
#[derive(Debug, Clone)]
#[must_use = "it does nothing until it is awaited"]
pub struct Delete(Put);

impl Put {
    pub(super) fn new(kv: &Kv, write: Write) -> Self {
        Self { kv: kv.clone(), write, timeout: kv.default_timeout() }
    }

    /// Ends the value after so long, by the time of the log. Without it, it stays.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.write = self.write.ttl(ttl);
        self
    }

    /// Refuses it when a newer fence was seen under this name, in the same step.
    pub fn fence(mut self, name: &str, fence: u64) -> Self {
        self.write = self.write.fenced(name, fence);
        self
    }

    /// How long it takes at most.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    pub(super) async fn make(self) -> Result<(u64, bool), Error> {
        match self.kv.propose(self.write.command(), self.timeout).await? {
            Answer::Done { index, existed } => Ok((index, existed)),
            _ => Err(Error::new(ErrorKind::Forgotten, "an answer that belongs to another question")),
        }
    }
}

impl Delete {
    pub(super) fn new(kv: &Kv, write: Write) -> Self {
        Self(Put::new(kv, write))
    }

    /// As [`Put::fence`].
    pub fn fence(self, name: &str, fence: u64) -> Self {
        Self(self.0.fence(name, fence))
    }

    /// How long it takes at most.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self(self.0.timeout(timeout))
    }
}

impl IntoFuture for Put {
    type Output = Result<u64, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.make().await.map(|(version, _)| version) })
    }
}

impl IntoFuture for Delete {
    type Output = Result<bool, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.0.make().await.map(|(_, existed)| existed) })
    }
}
