//! What happens to one call.
use std::time::Duration;

use convoke_core::{StoreError, TransportError, TransportErrorKind};
use tokio::time::{Instant, sleep, sleep_until};

/// How long a store that says nothing is waited for. A real one has such a limit of its own.
const SILENCE: Duration = Duration::from_secs(1);

/// What happens to one call to the outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Fate {
    pub(super) delay: Duration,
    pub(super) loss: Option<Loss>,
}

/// What gets lost, and how its sender learns of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    /// The call never takes effect.
    Message(How),
    /// It takes effect, and nobody is told.
    Answer(How),
}

/// How a sender learns that something got lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// It hears nothing until its deadline.
    Silence,
    /// Its connection breaks while it waits.
    Break,
    /// It cannot send at all.
    Away,
}

/// An error that tells a caller of a loss.
pub(crate) trait Broken {
    /// The error.
    fn broken(how: How) -> Self;
}

impl Broken for TransportError {
    fn broken(how: How) -> Self {
        match how {
            How::Silence => TransportErrorKind::TimedOut,
            How::Break => TransportErrorKind::Disconnected,
            How::Away => TransportErrorKind::Unavailable,
        }
        .into()
    }
}

impl Broken for StoreError {
    fn broken(how: How) -> Self {
        Self::unavailable(match how {
            How::Silence => "no answer in time",
            How::Break => "the connection broke while waiting",
            How::Away => "no connection",
        })
    }
}

impl Fate {
    /// The call, as it goes. What is delayed beyond its deadline is lost.
    pub(crate) async fn befall<T, E: Broken>(
        self,
        by: Option<Instant>,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        if !self.delay.is_zero() {
            if by.is_some_and(|by| Instant::now() + self.delay >= by) {
                return lost(How::Silence, by).await;
            }
            sleep(self.delay).await;
        }
        match self.loss {
            None => call.await,
            Some(Loss::Message(how)) => lost(how, by).await,
            Some(Loss::Answer(how)) => {
                let _ = call.await; // it took effect, or it failed: its caller learns neither
                lost(how, by).await
            }
        }
    }
}

async fn lost<T, E: Broken>(how: How, by: Option<Instant>) -> Result<T, E> {
    if how == How::Silence {
        sleep_until(by.unwrap_or_else(|| Instant::now() + SILENCE)).await;
    }
    Err(E::broken(how))
}

impl std::fmt::Display for Fate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.delay.is_zero() {
            write!(f, "delayed by {:?}", self.delay)?;
            f.write_str(if self.loss.is_some() { ", " } else { "" })?;
        }
        match self.loss {
            None => Ok(()),
            Some(Loss::Message(how)) => write!(f, "message lost, {}", how.word()),
            Some(Loss::Answer(how)) => write!(f, "answer lost, {}", how.word()),
        }
    }
}

impl How {
    fn word(self) -> &'static str {
        match self {
            Self::Silence => "silence until the deadline",
            Self::Break => "the connection breaks",
            Self::Away => "no connection",
        }
    }
}
