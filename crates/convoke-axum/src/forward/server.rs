use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, FromRef, Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use convoke_core::{Answered, Executed, Failed, Mediator, frame};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

use super::nonces::{Nonces, Used};
use super::sign::{HEADER, Nonce, Refused};
use super::{ForwardKey, PATH};
use crate::ProblemDetails;

/// How long the body of a forwarded request may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Forwarded requests at once, and as many more bodies in memory. Others are answered 503, and tried again.
const REQUESTS_MAX: usize = 4096;
/// How much longer than its caller waits a request may take here before it is answered: the caller has gone.
const ANSWER_GRACE: Duration = Duration::from_secs(1);
/// The same for a request that says nothing about its time.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// What the routes share.
struct Gate {
    key: ForwardKey,
    nonces: Nonces,
    room: tokio::sync::Semaphore,
}

/// `POST /convoke/forward/<wire name>`: where the other nodes of a cluster send what is for the leader. Needed on each
/// node whose app has an [`HttpForwarder`](super::HttpForwarder).
///
/// Only requests that are signed with the key are read; they need no other token, so the routes are merged after
/// guards are layered on. The address of this router's server is the one the cluster knows the node by. A server with a
/// bound on bodies of its own, such as [`ServeConfig::body_bytes_max`](crate::ServeConfig), leaves 16 KiB more than
/// the largest message has.
///
/// ```
/// # use axum::{Router, routing::get};
/// # use convoke::Mediator;
/// use convoke_axum::{ForwardKey, bearer, forward_routes};
/// # let orders: Router<Mediator> = Router::new().route("/orders", get(|| async {}));
/// let key = ForwardKey::new("0f1e2d3c4b5a69788796a5b4c3d2e1f0")?;
/// let router = orders.layer(bearer(["s3cret"])?).merge(forward_routes(key));
/// # Ok::<(), convoke_axum::GuardError>(())
/// ```
pub fn forward_routes<S>(key: ForwardKey) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    Mediator: FromRef<S>,
{
    let gate = Arc::new(Gate { key, nonces: Nonces::new(), room: tokio::sync::Semaphore::new(REQUESTS_MAX) });
    let handler = move |State(mediator): State<Mediator>, Path(name): Path<String>, request: Request| async move {
        match gate.answer(mediator, &name, request).await {
            Ok(response) => response,
            Err(refusal) => gate.refuse(refusal).await,
        }
    };
    Router::new().route(&format!("{PATH}{{name}}"), post(handler)).layer(DefaultBodyLimit::disable())
}

/// Why nothing ran. Signed like an answer when the request was good, so that its sender can believe it.
struct Refusal {
    problem: ProblemDetails,
    nonce: Option<Nonce>,
}

impl From<ProblemDetails> for Refusal {
    fn from(problem: ProblemDetails) -> Self {
        Self { problem, nonce: None }
    }
}

impl Gate {
    async fn answer(&self, mediator: Mediator, name: &str, request: Request) -> Result<Response, Refusal> {
        let mut signatures = request.headers().get_all(HEADER).iter();
        let signature = signatures.next().filter(|_| signatures.next().is_none());
        let signed =
            self.key.check(signature, mediator.node(), name).map_err(|why| refused(why, &mediator))?;
        let full = || Refusal { problem: full(), nonce: Some(signed.nonce) };
        let _room = self.room.try_acquire().map_err(|_| full())?;
        match self.nonces.take(signed.nonce) {
            Used::Now => {}
            Used::Before => return Err(unauthorized("this request was sent before").into()),
            Used::Unknown => return Err(full()),
        }
        let limits = mediator.limits();
        let body = read(request.into_body(), frame::bytes_max(&limits)).await?;
        if !signed.covers(&body) {
            return Err(unauthorized("this is not the body that was signed").into());
        }
        let answered = match frame::read_request(&body, &limits) {
            Ok(incoming) if *incoming.name != *name => {
                Answered::Failed(Failed::Undecodable(format!("it is not a {name}")))
            }
            Ok(incoming) => {
                let left =
                    incoming.envelope.expiry.map(|expiry| expiry.remaining.saturating_add(ANSWER_GRACE));
                let handled = timeout(left.unwrap_or(ANSWER_TIMEOUT), mediator.handle_forwarded(incoming));
                handled.await.unwrap_or(Answered::Failed(Failed::TimedOut))
            }
            Err(failed) => Answered::Failed(failed),
        };
        let body = frame::answer(answered);
        let mut response = Response::new(Body::from(body.clone()));
        response.headers_mut().insert(HEADER, self.key.sign_answer(&signed.nonce, &body));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/msgpack"));
        Ok(response)
    }

    async fn refuse(&self, Refusal { problem, nonce }: Refusal) -> Response {
        let response = problem.into_response();
        let Some(nonce) = nonce else { return response };
        let (mut head, body) = response.into_parts();
        let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default(); // it is in memory
        head.headers.insert(HEADER, self.key.sign_answer(&nonce, &body));
        Response::from_parts(head, Body::from(body))
    }
}

async fn read(body: Body, bytes_max: usize) -> Result<Bytes, ProblemDetails> {
    let problem = |status, detail: &str| ProblemDetails::new(status, detail).executed(Executed::No);
    match timeout(BODY_TIMEOUT, Limited::new(body, bytes_max).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(problem(StatusCode::PAYLOAD_TOO_LARGE, "the request is larger than this node takes"))
        }
        Ok(Err(_)) => Err(problem(StatusCode::BAD_REQUEST, "the body ended early")),
        Err(_) => Err(problem(StatusCode::REQUEST_TIMEOUT, "the body took too long")),
    }
}

fn refused(why: Refused, mediator: &Mediator) -> Refusal {
    match why {
        Refused::Misdirected(nonce) => {
            let detail = format!("this is node {}, and the request is for another one", mediator.node());
            let problem = ProblemDetails::new(StatusCode::MISDIRECTED_REQUEST, detail).executed(Executed::No);
            Refusal { problem, nonce: Some(nonce) }
        }
        Refused::Stale => {
            unauthorized("it was signed more than 30 s ago: set the clocks of the nodes").into()
        }
        Refused::Malformed | Refused::Forged => {
            unauthorized("it is not signed with this cluster's secret").into()
        }
    }
}

fn unauthorized(detail: &str) -> ProblemDetails {
    ProblemDetails::new(StatusCode::UNAUTHORIZED, detail).executed(Executed::No)
}

fn full() -> ProblemDetails {
    let detail = "more requests were forwarded to this node than it takes";
    ProblemDetails::new(StatusCode::SERVICE_UNAVAILABLE, detail).executed(Executed::No).retry_after(1)
}
