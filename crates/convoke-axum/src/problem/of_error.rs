//! The table of errors: what became of a message, as a status and a body.

use convoke_core::{Executed, Failed, Invalid, Never, SendError};
use http::StatusCode;

use super::{Problem, ProblemDetails};

/// Seconds after which a node that could not serve may be asked again: about the time a failover takes.
const RETRY_AFTER_SECONDS: u64 = 1;

impl<E: Problem> From<&SendError<E>> for ProblemDetails {
    fn from(error: &SendError<E>) -> Self {
        match error {
            SendError::Rejected(refusal) => Self::refusal(refusal),
            other => of(other).executed(other.executed()),
        }
    }
}

impl From<&Invalid> for ProblemDetails {
    fn from(invalid: &Invalid) -> Self {
        Self::from(&SendError::<Never>::Invalid(invalid.clone()))
    }
}

impl From<Failed> for ProblemDetails {
    fn from(failed: Failed) -> Self {
        Self::from(&SendError::<Never>::from(failed))
    }
}

fn of<E>(error: &SendError<E>) -> ProblemDetails {
    match error {
        SendError::Invalid(invalid) => of_invalid(invalid),
        SendError::Undecodable(text) => {
            named(StatusCode::BAD_REQUEST, "undecodable", "The message could not be read", text)
        }
        SendError::KeyReused => named(
            StatusCode::UNPROCESSABLE_ENTITY,
            "key-reused",
            "The idempotency key was used before",
            "this Idempotency-Key was used with another payload: use a new key for a new request",
        ),
        SendError::InProgress => named(
            StatusCode::CONFLICT,
            "in-progress",
            "Still in progress",
            "an earlier request with this Idempotency-Key has not ended: ask again for its result",
        )
        .retry_after(RETRY_AFTER_SECONDS),
        SendError::NoHandler => away("no-handler", "No handler", "no node that handles this is reachable"),
        SendError::Overloaded => away("overloaded", "Overloaded", "more requests are waiting than are taken"),
        SendError::NotLeader { leader } => {
            away("not-leader", "Not the leader", "only the leader handles this, and this node does not lead")
                .leader(leader.as_deref())
        }
        SendError::Unavailable(_) => {
            away("unavailable", "Unavailable", "a store or broker that this needs is away")
        }
        SendError::Disconnected => named(
            StatusCode::BAD_GATEWAY,
            "disconnected",
            "Connection lost",
            "the connection to the node that handles this was lost: it may have been carried out",
        ),
        SendError::TimedOut => named(
            StatusCode::GATEWAY_TIMEOUT,
            "timed-out",
            "No answer in time",
            "no answer in time: it may have been carried out",
        ),
        // A fault's text is for those who run the service: it may name tables, hosts and files.
        _ => named(
            StatusCode::INTERNAL_SERVER_ERROR,
            "faulted",
            "The handler failed",
            "the request failed while it was being carried out",
        ),
    }
}

fn of_invalid(invalid: &Invalid) -> ProblemDetails {
    let problem = named(StatusCode::BAD_REQUEST, "invalid", "The message is not valid", &invalid.to_string());
    invalid.violations.iter().cloned().fold(problem, ProblemDetails::field)
}

/// Nothing ran, and another node or a later time may do.
fn away(code: &str, title: &str, detail: &str) -> ProblemDetails {
    let detail = format!("{detail}; nothing was carried out");
    named(StatusCode::SERVICE_UNAVAILABLE, code, title, &detail)
        .executed(Executed::No)
        .retry_after(RETRY_AFTER_SECONDS)
}

fn named(status: StatusCode, code: &str, title: &str, detail: &str) -> ProblemDetails {
    ProblemDetails::new(status, detail).code(code).title(title)
}
