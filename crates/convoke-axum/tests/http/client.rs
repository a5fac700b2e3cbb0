use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Builder;
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use tower::ServiceExt;

/// An answer with its whole body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("an ASCII header"))
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }

    /// The body of a problem, which agrees with its status.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{text}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{text}");
        let problem = self.json();
        assert_eq!(problem["status"], status, "{text}");
        for member in ["type", "title", "detail"] {
            assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {text}");
        }
        problem
    }

    /// The same, when it is about this field.
    #[track_caller]
    pub(crate) fn problem_of_field(&self, status: u16, field: &str) -> Value {
        let problem = self.problem(status);
        assert_eq!(problem["errors"][0]["field"], field, "{problem}");
        assert!(problem["errors"][0]["message"].as_str().is_some_and(|text| !text.is_empty()), "{problem}");
        problem
    }
}

pub(crate) async fn send(router: &Router, request: Request) -> Answer {
    let response = router.clone().oneshot(request).await.expect("a router answers everything");
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.expect("the body is in memory");
    Answer { status: parts.status, headers: parts.headers, body: body.to_vec() }
}

/// A request with a JSON body.
pub(crate) fn json(request: Builder, body: impl Into<Body>) -> Request {
    request.header("content-type", "application/json").body(body.into()).expect("a request")
}

pub(crate) async fn post(router: &Router, path: &str, body: impl Into<Body>) -> Answer {
    send(router, json(Request::post(path), body)).await
}

pub(crate) async fn get(router: &Router, path: &str) -> Answer {
    send(router, Request::get(path).body(Body::empty()).expect("a request")).await
}
