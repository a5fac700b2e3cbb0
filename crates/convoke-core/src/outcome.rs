use std::{any::Any, fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{BoxError, Message};

/// What a handler of `M` returns.
pub type Outcome<M> = Result<<M as Message>::Reply, Failure<<M as Message>::Error>>;
/// What a handler of any event returns.
pub type Handled = Result<(), Failure<Never>>;

/// The refusal of a message that is never refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Never {}

impl fmt::Display for Never {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}
impl std::error::Error for Never {}

/// A ready-made refusal, for requests that want no error type of their own.
///
/// ```
/// # use convoke_core::Rejection;
/// let full = Rejection::new("warehouse.full", "no shelf is free");
/// assert_eq!(full.to_string(), "no shelf is free");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// What a caller can branch on, such as `warehouse.full`.
    pub code: String,
    /// What a person reads.
    pub message: String,
}

impl Rejection {
    /// A refusal with a code and a text.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
impl std::error::Error for Rejection {}

/// Why a handler did not reply.
#[derive(Debug)]
#[non_exhaustive]
pub enum Failure<E> {
    /// An answer: the caller is told, nothing is retried.
    Rejected(E),
    /// Not an answer: a `send` is told so, an event is tried again and then dead-lettered.
    Faulted(Fault),
}

/// An error that is not an answer.
#[derive(Debug)]
pub struct Fault(Box<Cause>); // one word, so that outcomes stay small

#[derive(Debug)]
struct Cause {
    source: BoxError,
    retry_after: Option<Duration>,
    poison: bool,
}

impl Fault {
    /// A fault with the error that caused it.
    pub fn new(source: impl Into<BoxError>) -> Self {
        Self(Box::new(Cause { source: source.into(), retry_after: None, poison: false }))
    }
    /// How long to wait before the next attempt, when the handler said so.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }
    /// Whether no further attempt can help.
    pub fn is_poison(&self) -> bool {
        self.0.poison
    }
    /// The error that caused it.
    pub fn source(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
        &*self.0.source
    }
    /// The error and what caused it, outermost first.
    pub fn chain(&self) -> Vec<String> {
        let mut texts = Vec::new();
        let mut next: Option<&(dyn std::error::Error + 'static)> = Some(&*self.0.source);
        while let Some(error) = next {
            if texts.len() == CHAIN_MAX {
                break;
            }
            texts.push(error.to_string());
            next = error.source();
        }
        texts
    }
}

/// Errors of a chain that are kept: a cycle of sources must not fill memory.
const CHAIN_MAX: usize = 16;

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.source.fmt(f)
    }
}

impl<E> Failure<E> {
    /// A fault from an error that `?` does not take, such as `anyhow::Error` or a boxed one.
    pub fn fault(err: impl Into<BoxError>) -> Self {
        Self::Faulted(Fault::new(err))
    }
    /// A fault that should be tried again after `delay`.
    pub fn retry_after(delay: Duration, err: impl Into<BoxError>) -> Self {
        let mut fault = Fault::new(err);
        fault.0.retry_after = Some(delay);
        Self::Faulted(fault)
    }
    /// A fault that no further attempt can cure: an event is dead-lettered at once.
    pub fn poison(err: impl Into<BoxError>) -> Self {
        let mut fault = Fault::new(err);
        fault.0.poison = true;
        Self::Faulted(fault)
    }
}

/// `?` on the message's own error is a refusal; `?` on any other error is a fault.
impl<E, X> From<X> for Failure<E>
where
    E: 'static,
    X: std::error::Error + Send + Sync + 'static,
{
    fn from(err: X) -> Self {
        let mut slot = Some(err);
        if let Some(own) = (&mut slot as &mut dyn Any).downcast_mut::<Option<E>>() {
            return Self::Rejected(own.take().expect("the slot was filled above"));
        }
        Self::Faulted(Fault::new(slot.take().expect("the slot was filled above")))
    }
}

/// `?` on a [`Fault`] stays a fault. Legal because `Fault` is local and is not an `Error`.
impl<E> From<Fault> for Failure<E> {
    fn from(fault: Fault) -> Self {
        Self::Faulted(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(own: bool) -> Result<(), Failure<Rejection>> {
        match own {
            true => Err(Rejection::new("no", "not today"))?,
            false => Err(std::io::Error::other("disk full"))?,
        }
        Ok(())
    }

    #[test]
    fn the_own_error_is_a_refusal() {
        assert!(matches!(ask(true), Err(Failure::Rejected(refusal)) if refusal.code == "no"));
    }

    #[test]
    fn any_other_error_is_a_fault_with_its_chain() {
        let Err(Failure::Faulted(fault)) = ask(false) else { panic!("expected a fault") };
        assert_eq!(fault.chain(), ["disk full"]);
        assert!(!fault.is_poison());
    }
}
