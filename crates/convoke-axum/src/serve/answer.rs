use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::OnceLock;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request};
use axum::response::{IntoResponse, Response};
use convoke_core::Executed;
use futures_util::FutureExt;
use http::header::CONNECTION;
use http::{HeaderValue, StatusCode};
use hyper::body::{Body as _, Incoming};
use tokio::time::timeout;
use tower::{Layer, ServiceExt};

use super::body::{Cut, RequestBody, ResponseBody};
use super::config::ServeConfig;
use super::pulse::Open;
use crate::ProblemDetails;

/// Answers requests: the router behind the limits every request has.
#[derive(Debug, Clone)]
pub(super) struct Answerer {
    router: Router,
    request_timeout: Duration,
    body_timeout: Duration,
    body_bytes_max: u64,
}

impl Answerer {
    pub(super) fn new(router: Router, config: &ServeConfig) -> Self {
        Self {
            router,
            request_timeout: config.request_timeout,
            body_timeout: config.body_timeout,
            body_bytes_max: config.body_bytes_max,
        }
    }

    /// Answers one request. `open` keeps the connection busy until the response has been taken.
    pub(super) async fn answer(
        self,
        request: http::Request<Incoming>,
        peer: SocketAddr,
        open: Open,
    ) -> http::Response<ResponseBody> {
        let (parts, incoming) = request.into_parts();
        let response = if incoming.is_end_stream() {
            self.handle(Request::from_parts(parts, Body::empty()), peer).await
        } else {
            let body = RequestBody::new(incoming, self.body_bytes_max, self.body_timeout, open.body());
            if body.size_hint().lower() > self.body_bytes_max {
                self.refuse(Cut::TooLong)
            } else {
                let cut = body.cut();
                let response = self.handle(Request::from_parts(parts, Body::new(body)), peer).await;
                // Whatever the handler made of the error: the truth about the body goes first.
                OnceLock::get(&cut).map_or(response, |cut| self.refuse(*cut))
            }
        };
        response.map(|body| ResponseBody::new(body, open))
    }

    async fn handle(&self, mut request: Request, peer: SocketAddr) -> Response {
        request.extensions_mut().insert(ConnectInfo(peer));
        // axum's own 2 MB default would sit below a larger limit set here; limits set on routes still hold.
        let service = DefaultBodyLimit::disable().layer(self.router.clone());
        let handling = AssertUnwindSafe(async { service.oneshot(request).await }).catch_unwind();
        match timeout(self.request_timeout, handling).await {
            Ok(Ok(Ok(response))) => response,
            Ok(Ok(Err(never))) => match never {},
            Ok(Err(_panic)) => {
                tracing::error!(%peer, "a handler panicked");
                let text = "the server failed to handle the request";
                unfinished(StatusCode::INTERNAL_SERVER_ERROR, text.to_owned())
            }
            Err(_elapsed) => {
                let timeout = self.request_timeout;
                tracing::warn!(%peer, ?timeout, "a handler took too long and was stopped");
                let detail = format!("no answer within {timeout:?}; the request may have been carried out");
                unfinished(StatusCode::GATEWAY_TIMEOUT, detail)
            }
        }
    }

    fn refuse(&self, cut: Cut) -> Response {
        match cut {
            Cut::TooLong => {
                let detail = format!("the body may have at most {} bytes", self.body_bytes_max);
                unread(StatusCode::PAYLOAD_TOO_LARGE, detail)
            }
            Cut::TooSlow => {
                let detail = format!("the body did not arrive within {:?}", self.body_timeout);
                unread(StatusCode::REQUEST_TIMEOUT, detail)
            }
        }
    }
}

/// For a handler that was stopped or broke: what it did by then, nobody knows.
fn unfinished(status: StatusCode, detail: String) -> Response {
    ProblemDetails::new(status, detail).executed(Executed::Unknown).into_response()
}

/// For a request whose body was not read to its end: nothing can follow on its connection.
fn unread(status: StatusCode, detail: String) -> Response {
    ProblemDetails::new(status, detail).header(CONNECTION, HeaderValue::from_static("close")).into_response()
}
