use serde::{Deserialize, Serialize};

use crate::{Fault, Invalid, TransportError, TransportErrorKind};

/// What the caller of a command or a query sees.
///
/// [`executed`](Self::executed) says for each whether the handler ran.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError<E> {
    /// The handler refused. It ran.
    #[error("rejected: {0}")]
    Rejected(E),
    /// The content breaks the message's own rules. Nothing ran.
    #[error("{0}")]
    Invalid(Invalid),
    /// The receiver could not read the message. Nothing ran.
    #[error("undecodable: {0}")]
    Undecodable(String),
    /// The idempotency key was used with another payload. Nothing ran.
    #[error("the idempotency key was used with another payload")]
    KeyReused,
    /// An earlier send under this key was still running when the deadline came.
    #[error("still in progress")]
    InProgress,
    /// No node handles it. Nothing ran.
    #[error("no handler")]
    NoHandler,
    /// The node has more to do than it takes. Nothing ran.
    #[error("overloaded")]
    Overloaded,
    /// Only the leader handles it, and this node is not the leader. Nothing ran.
    #[error("not the leader{}", .leader.as_ref().map(|l| format!(", ask {l}")).unwrap_or_default())]
    NotLeader {
        /// Where the leader is, when it is known.
        leader: Option<String>,
    },
    /// A store or broker it needs is away. Nothing ran.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// The connection broke while waiting: it may have run.
    #[error("connection lost while waiting for the answer")]
    Disconnected,
    /// No answer before the deadline: it may have run.
    #[error("no answer in time")]
    TimedOut,
    /// The handler ran and failed.
    #[error("the handler failed: {0}")]
    Faulted(String),
}

/// Whether a message was executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Executed {
    /// The handler ran to its end.
    Yes,
    /// Nothing ran: sending again is safe.
    No,
    /// It may have run, or may still run.
    Unknown,
    /// It is running.
    Running,
}

impl<E> SendError<E> {
    /// The refusal, when it is one.
    pub fn rejected(&self) -> Option<&E> {
        if let Self::Rejected(err) = self { Some(err) } else { None }
    }

    /// Whether the handler ran.
    pub fn executed(&self) -> Executed {
        match self {
            Self::Rejected(_) | Self::Faulted(_) => Executed::Yes,
            Self::InProgress => Executed::Running,
            Self::Disconnected | Self::TimedOut => Executed::Unknown,
            Self::Invalid(_)
            | Self::Undecodable(_)
            | Self::KeyReused
            | Self::NoHandler
            | Self::Overloaded
            | Self::NotLeader { .. }
            | Self::Unavailable(_) => Executed::No,
        }
    }
}

impl<E> From<Failed> for SendError<E> {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Invalid(invalid) => Self::Invalid(invalid),
            Failed::Undecodable(text) => Self::Undecodable(text),
            Failed::KeyReused => Self::KeyReused,
            Failed::InProgress => Self::InProgress,
            Failed::NoHandler => Self::NoHandler,
            Failed::Overloaded => Self::Overloaded,
            Failed::NotLeader { leader } => Self::NotLeader { leader },
            Failed::Unavailable(text) => Self::Unavailable(text),
            Failed::Disconnected => Self::Disconnected,
            Failed::TimedOut => Self::TimedOut,
            Failed::Faulted(fault) => Self::Faulted(fault.to_string()),
        }
    }
}

/// Why a delivery was neither answered nor refused. What behaviours see and return.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failed {
    /// The content breaks the message's own rules.
    #[error("{0}")]
    Invalid(Invalid),
    /// The message could not be read.
    #[error("undecodable: {0}")]
    Undecodable(String),
    /// The idempotency key was used with another payload.
    #[error("the idempotency key was used with another payload")]
    KeyReused,
    /// An earlier run under this key has not ended.
    #[error("still in progress")]
    InProgress,
    /// No node handles it.
    #[error("no handler")]
    NoHandler,
    /// More work than this node takes.
    #[error("overloaded")]
    Overloaded,
    /// This node does not lead.
    #[error("not the leader")]
    NotLeader {
        /// Where the leader is, when it is known.
        leader: Option<String>,
    },
    /// A store or broker is away.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// The connection broke while waiting.
    #[error("connection lost while waiting for the answer")]
    Disconnected,
    /// The deadline passed.
    #[error("no answer in time")]
    TimedOut,
    /// The handler, or a behaviour, failed.
    #[error("the handler failed: {0}")]
    Faulted(Fault),
}

impl Failed {
    /// A fault with the error that caused it.
    pub fn fault(source: impl Into<crate::BoxError>) -> Self {
        Self::Faulted(Fault::new(source))
    }

    /// What travels to the caller: a word and a text.
    pub fn to_wire(&self) -> WireFailure {
        let (code, detail) = match self {
            Self::Invalid(invalid) => return WireFailure::invalid(invalid),
            Self::Undecodable(text) => ("undecodable", text.clone()),
            Self::KeyReused => ("key-reused", String::new()),
            Self::InProgress => ("in-progress", String::new()),
            Self::NoHandler => ("no-handler", String::new()),
            Self::Overloaded => ("overloaded", String::new()),
            Self::NotLeader { leader } => ("not-leader", leader.clone().unwrap_or_default()),
            Self::Unavailable(text) => ("unavailable", text.clone()),
            Self::Disconnected => ("disconnected", String::new()),
            Self::TimedOut => ("timed-out", String::new()),
            Self::Faulted(fault) => ("faulted", fault.to_string()),
        };
        WireFailure { code: code.to_owned(), detail, violations: Invalid::default() }
    }

    /// What a caller makes of it. A word it does not know may have run, so it counts as a fault.
    pub fn from_wire(wire: WireFailure) -> Self {
        match wire.code.as_str() {
            "invalid" => Self::Invalid(wire.violations),
            "undecodable" => Self::Undecodable(wire.detail),
            "key-reused" => Self::KeyReused,
            "in-progress" => Self::InProgress,
            "no-handler" => Self::NoHandler,
            "overloaded" => Self::Overloaded,
            "not-leader" => Self::NotLeader { leader: (!wire.detail.is_empty()).then_some(wire.detail) },
            "unavailable" => Self::Unavailable(wire.detail),
            "disconnected" => Self::Disconnected,
            "timed-out" => Self::TimedOut,
            _ => Self::fault(wire.detail),
        }
    }
}

impl From<TransportError> for Failed {
    fn from(error: TransportError) -> Self {
        match error.kind() {
            TransportErrorKind::NoHandler => Self::NoHandler,
            TransportErrorKind::Disconnected => Self::Disconnected,
            TransportErrorKind::TimedOut => Self::TimedOut,
            TransportErrorKind::TooLarge => Self::Invalid(Invalid::field("", error.to_string())),
            TransportErrorKind::Unavailable | TransportErrorKind::Refused => {
                Self::Unavailable(error.to_string())
            }
        }
    }
}

/// A [`Failed`] as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireFailure {
    /// The word for it, such as `overloaded`.
    pub code: String,
    /// What a person reads.
    #[serde(default)]
    pub detail: String,
    /// For `invalid`.
    #[serde(default)]
    pub violations: Invalid,
}

impl WireFailure {
    fn invalid(invalid: &Invalid) -> Self {
        Self { code: "invalid".to_owned(), detail: String::new(), violations: invalid.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Never;

    #[test]
    fn each_failure_travels_and_says_whether_it_ran() {
        let all = [
            (Failed::Invalid(Invalid::field("a", "b")), Executed::No),
            (Failed::Undecodable("x".into()), Executed::No),
            (Failed::KeyReused, Executed::No),
            (Failed::InProgress, Executed::Running),
            (Failed::NoHandler, Executed::No),
            (Failed::Overloaded, Executed::No),
            (Failed::NotLeader { leader: Some("n1".into()) }, Executed::No),
            (Failed::Unavailable("redis".into()), Executed::No),
            (Failed::Disconnected, Executed::Unknown),
            (Failed::TimedOut, Executed::Unknown),
            (Failed::fault("boom"), Executed::Yes),
        ];
        for (failed, executed) in all {
            let wire = failed.to_wire();
            let back = Failed::from_wire(wire.clone());
            assert_eq!(back.to_wire(), wire);
            assert_eq!(SendError::<Never>::from(back).executed(), executed, "{}", wire.code);
        }
    }
}
