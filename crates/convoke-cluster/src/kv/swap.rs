use std::{future::IntoFuture, time::Duration};

use convoke_core::BoxFuture;

use super::{Kv, Write, machine::Answer};
use crate::{Error, ErrorKind};

/// A write under a condition, made when it is awaited.
///
/// # Errors
/// As for [`Put`](super::Put). A condition that does not hold is no error: it is [`Swap::Conflict`].
#[derive(Debug, Clone)]
#[must_use = "it does nothing until it is awaited"]
pub struct CompareAndSwap {
    kv: Kv,
    write: Write,
    timeout: Duration,
}

/// What a write under a condition came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "it may not have been made"]
pub enum Swap {
    /// It was made.
    Done {
        /// The place of the write in the log: the version of the value.
        version: u64,
    },
    /// The condition did not hold, and nothing was changed.
    Conflict {
        /// The version of what is there.
        current: Option<u64>,
    },
}

impl Swap {
    /// Whether it was made.
    #[must_use]
    pub fn is_done(self) -> bool {
        matches!(self, Self::Done { .. })
    }
}

impl CompareAndSwap {
    pub(super) fn new(kv: &Kv, write: Write) -> Self {
        Self { kv: kv.clone(), write, timeout: kv.default_timeout() }
    }

    /// Ends the value after so long, by the time of the log.
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
}

impl IntoFuture for CompareAndSwap {
    type Output = Result<Swap, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            match self.kv.propose(self.write.command(), self.timeout).await? {
                Answer::Done { index, .. } => Ok(Swap::Done { version: index }),
                Answer::Conflict { current } => Ok(Swap::Conflict { current }),
                _ => Err(Error::new(ErrorKind::Forgotten, "an answer that belongs to another question")),
            }
        })
    }
}
