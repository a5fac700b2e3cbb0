use std::borrow::Cow;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use convoke_core::{Executed, Violation};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

use super::Problem;
use crate::redact::redacted;

/// An error answer in the form of RFC 9457: a body of type `application/problem+json` and the status with it.
///
/// ```
/// use axum::response::IntoResponse;
/// use convoke_axum::ProblemDetails;
/// use http::StatusCode;
///
/// let problem = ProblemDetails::new(StatusCode::CONFLICT, "the shelf is taken").code("shelf.taken");
/// assert_eq!(problem.into_response().status(), StatusCode::CONFLICT);
/// ```
#[derive(Debug, Clone)]
pub struct ProblemDetails(Box<Parts>); // one word, so that results stay small

#[derive(Debug, Clone)]
struct Parts {
    status: StatusCode,
    body: Members,
    headers: HeaderMap,
}

#[derive(Debug, Clone, Serialize)]
struct Members {
    r#type: Cow<'static, str>,
    title: String,
    status: u16,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    executed: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    leader: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
}

#[derive(Debug, Clone, Serialize)]
struct FieldError {
    field: String,
    message: String,
}

impl ProblemDetails {
    /// A problem with what a person reads about this occurrence.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let body = Members {
            r#type: "about:blank".into(),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            code: None,
            executed: None,
            leader: None,
            errors: Vec::new(),
        };
        Self(Box::new(Parts { status, body, headers: HeaderMap::new() }))
    }

    /// A refusal, as its error says. It was executed.
    pub fn refusal(error: &(impl Problem + ?Sized)) -> Self {
        let problem =
            Self::new(error.status(), error.to_string()).title(error.title()).executed(Executed::Yes);
        let problem = error.fields().into_iter().fold(problem, |problem, field| problem.field(field));
        match error.code() {
            Some(code) => problem.code(code),
            None => problem,
        }
    }

    /// Adds a word that programs branch on. When it can stand in a URN, it also makes the problem's `type`.
    #[must_use]
    pub fn code(mut self, code: impl Into<String>) -> Self {
        let code = code.into();
        if !code.is_empty() && code.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b)) {
            self.0.body.r#type = format!("urn:convoke:{code}").into();
        }
        self.0.body.code = Some(code);
        self
    }

    /// Replaces the title, which is the words of the status at first.
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.0.body.title = title.into();
        self
    }

    /// Says whether the request was executed.
    #[must_use]
    pub fn executed(mut self, executed: Executed) -> Self {
        self.0.body.executed = Some(match executed {
            Executed::Yes => "yes",
            Executed::No => "no",
            Executed::Unknown => "unknown",
            Executed::Running => "running",
        });
        self
    }

    /// Adds a field and what is wrong with it.
    #[must_use]
    pub fn field(mut self, violation: Violation) -> Self {
        let Violation { field, message } = violation;
        self.0.body.errors.push(FieldError { field, message });
        self
    }

    /// Adds a header to the answer.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    /// Says after how many seconds another attempt makes sense.
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        self.header(RETRY_AFTER, seconds.into())
    }

    pub(super) fn leader(mut self, leader: Option<&str>) -> Self {
        self.0.body.leader = leader.map(|leader| redacted(leader).into_owned());
        self
    }
}

impl IntoResponse for ProblemDetails {
    fn into_response(self) -> Response {
        let Parts { status, body, headers } = *self.0;
        let body = serde_json::to_vec(&body).expect("texts and numbers can always be written as JSON");
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response
    }
}
