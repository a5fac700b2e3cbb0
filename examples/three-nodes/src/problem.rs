use axum::http::StatusCode;
use convoke::{Violation, http::ProblemDetails};
use convoke_cluster::{Error, ErrorKind};

/// When a caller that was told 503 may ask again: an election takes less.
const RETRY_AFTER_SECONDS: u64 = 1;

/// The answer for what the cluster could not do.
pub(crate) fn of_cluster(error: &Error) -> ProblemDetails {
    let (status, code) = match error.kind() {
        ErrorKind::NoLeader => (StatusCode::SERVICE_UNAVAILABLE, "cluster.no-leader"),
        ErrorKind::NoQuorum => (StatusCode::SERVICE_UNAVAILABLE, "cluster.no-quorum"),
        ErrorKind::NotLeader => (StatusCode::SERVICE_UNAVAILABLE, "cluster.not-leader"),
        ErrorKind::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "cluster.overloaded"),
        ErrorKind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "cluster.unavailable"),
        ErrorKind::Stopped => (StatusCode::SERVICE_UNAVAILABLE, "cluster.stopped"),
        ErrorKind::TimedOut | ErrorKind::Forgotten => (StatusCode::GATEWAY_TIMEOUT, "cluster.timed-out"),
        ErrorKind::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "kv.too-large"),
        ErrorKind::Full => (StatusCode::INSUFFICIENT_STORAGE, "kv.full"),
        ErrorKind::Refused => (StatusCode::UNPROCESSABLE_ENTITY, "kv.refused"),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "cluster.failed"),
    };
    let problem = ProblemDetails::new(status, error.to_string()).code(code).executed(error.executed());
    if status == StatusCode::SERVICE_UNAVAILABLE { problem.retry_after(RETRY_AFTER_SECONDS) } else { problem }
}

/// The answer for a request that makes no sense, and the part of it that is wrong.
pub(crate) fn bad_request(status: StatusCode, detail: impl Into<String>) -> ProblemDetails {
    ProblemDetails::new(status, detail).executed(convoke::Executed::No)
}

pub(crate) fn violation(field: &str, message: impl Into<String>) -> Violation {
    Violation { field: field.into(), message: message.into() }
}
