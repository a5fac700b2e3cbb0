use std::fmt;

use super::Model;

/// A register of numbers that starts empty, with compare-and-swap.
#[derive(Debug, Clone, Copy, Default)]
pub struct Register;

/// What is asked of a [`Register`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum RegisterCall {
    /// What does it hold?
    Read,
    /// Hold this.
    Write(u64),
    /// Hold nothing.
    Delete,
    /// Hold `to` if it is `from` that is held.
    Swap {
        /// What must be held.
        from: Option<u64>,
        /// What is held then.
        to: u64,
    },
}

/// What a [`Register`] answers.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum RegisterAnswer {
    /// This is held.
    Value(Option<u64>),
    /// Written, deleted or swapped.
    Done,
    /// Not swapped: something else was held.
    Differs,
}

impl Model for Register {
    type State = Option<u64>;
    type Call = RegisterCall;
    type Answer = RegisterAnswer;

    fn initial(&self) -> Option<u64> {
        None
    }

    fn step(
        &self,
        held: &Option<u64>,
        call: &RegisterCall,
        answer: Option<&RegisterAnswer>,
    ) -> Option<Option<u64>> {
        let (after, would_be) = match *call {
            RegisterCall::Read => (*held, RegisterAnswer::Value(*held)),
            RegisterCall::Write(value) => (Some(value), RegisterAnswer::Done),
            RegisterCall::Delete => (None, RegisterAnswer::Done),
            RegisterCall::Swap { from, to } if from == *held => (Some(to), RegisterAnswer::Done),
            RegisterCall::Swap { .. } => (*held, RegisterAnswer::Differs),
        };
        answer.is_none_or(|answer| *answer == would_be).then_some(after)
    }
}

impl fmt::Debug for RegisterCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read => f.write_str("read"),
            Self::Write(value) => write!(f, "write {value}"),
            Self::Delete => f.write_str("delete"),
            Self::Swap { from: Some(from), to } => write!(f, "swap {from} for {to}"),
            Self::Swap { from: None, to } => write!(f, "create {to}"),
        }
    }
}

impl fmt::Debug for RegisterAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(Some(value)) => write!(f, "{value}"),
            Self::Value(None) => f.write_str("nothing"),
            Self::Done => f.write_str("done"),
            Self::Differs => f.write_str("differs"),
        }
    }
}
