use std::fmt;

use super::Model;

/// A lock that one client holds at a time, each time under a greater token.
///
/// A lease that may run out is a call of its own: an [`LockCall::Expire`] without an answer, called at the earliest
/// moment it could have run out ([`Recorder::may`](super::Recorder::may)). A harness that knows no such moment never
/// calls it, and the lock is then held until it is released.
#[derive(Debug, Clone, Copy, Default)]
pub struct Lock;

/// What is asked of a [`Lock`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum LockCall {
    /// Give it to me, if it is free.
    Acquire,
    /// Is it still mine? Then keep it for me.
    Renew(u64),
    /// I am done.
    Release(u64),
    /// The lease of this token ran out.
    Expire(u64),
}

/// What a [`Lock`] answers.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum LockAnswer {
    /// Yours, under this token.
    Granted(u64),
    /// Somebody else's.
    Busy,
    /// Renewed, released or run out.
    Done,
    /// No longer yours.
    Lost,
}

/// Who holds a [`Lock`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Held {
    /// The greatest token there was.
    last: u64,
    held: bool,
    /// Somebody got it whose token nobody knows.
    by_unknown: bool,
}

impl Model for Lock {
    type State = Held;
    type Call = LockCall;
    type Answer = LockAnswer;

    fn initial(&self) -> Held {
        Held { last: 0, held: false, by_unknown: false }
    }

    fn step(&self, lock: &Held, call: &LockCall, answer: Option<&LockAnswer>) -> Option<Held> {
        let holds = |token: u64| lock.held && !lock.by_unknown && lock.last == token;
        let free = Held { held: false, by_unknown: false, ..*lock };
        match (*call, answer.copied()) {
            (LockCall::Acquire, Some(LockAnswer::Granted(token))) => {
                let is_free = !lock.held || lock.by_unknown;
                (is_free && token > lock.last).then_some(Held { last: token, held: true, by_unknown: false })
            }
            (LockCall::Acquire, Some(LockAnswer::Busy)) => lock.held.then_some(*lock),
            // A holder without a token: nobody sees it leave, so it may be gone at any time.
            (LockCall::Acquire, None) if lock.held => Some(*lock),
            (LockCall::Acquire, None) => Some(Held { held: true, by_unknown: true, ..*lock }),
            (LockCall::Renew(token), Some(LockAnswer::Done)) => holds(token).then_some(*lock),
            (LockCall::Renew(_), None) => Some(*lock),
            (LockCall::Release(token) | LockCall::Expire(token), Some(LockAnswer::Done)) => {
                holds(token).then_some(free)
            }
            (LockCall::Release(token) | LockCall::Expire(token), None) => {
                Some(if holds(token) { free } else { *lock })
            }
            (LockCall::Renew(token) | LockCall::Release(token), Some(LockAnswer::Lost)) => {
                (!holds(token)).then_some(*lock)
            }
            _ => None,
        }
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { held: false, last, .. } => write!(f, "free, last token {last}"),
            Self { by_unknown: true, last, .. } => write!(f, "held under a token after {last}"),
            Self { last, .. } => write!(f, "held under {last}"),
        }
    }
}

impl fmt::Debug for LockCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Acquire => f.write_str("acquire"),
            Self::Renew(token) => write!(f, "renew {token}"),
            Self::Release(token) => write!(f, "release {token}"),
            Self::Expire(token) => write!(f, "lease of {token} may run out"),
        }
    }
}

impl fmt::Debug for LockAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Granted(token) => write!(f, "granted {token}"),
            Self::Busy => f.write_str("busy"),
            Self::Done => f.write_str("done"),
            Self::Lost => f.write_str("lost"),
        }
    }
}
