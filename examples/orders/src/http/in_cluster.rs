//! What only nodes of a cluster serve. Each answer of the leader says in which term, and behind which entry of the log, it
//! was made.
use axum::{
    Extension, Json, Router,
    extract::State,
    http::{HeaderName, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use convoke::{
    Executed, Fence, Mediator, SendError,
    cluster::Error,
    http::{Problem, ProblemDetails},
};

use super::{InPath, Shared};
use crate::{
    Repository,
    cluster::{Membership, REPORT},
    nightly::{self, NightError},
    shipping::{LastShipment, NumberShipment, ShippingError},
};

const TERM: HeaderName = HeaderName::from_static("raft-term");
const INDEX: HeaderName = HeaderName::from_static("raft-index");

/// A node's cluster, and the orders it works on.
#[derive(Debug, Clone)]
pub struct InCluster {
    /// Its place in it.
    pub membership: Membership,
    /// The orders.
    pub orders: Repository,
}

pub(super) fn routes(cluster: InCluster) -> Router<Shared> {
    Router::new()
        .route("/orders/{id}/shipping-number", post(number))
        .route("/shipping/last", get(last))
        .route("/report", get(report))
        .route("/jobs/nightly", post(night))
        .layer(Extension(cluster))
}

/// Any node takes it, and forwards it to the leader.
async fn number(State(mediator): State<Mediator>, InPath(order_id): InPath) -> Response {
    let sent = mediator.send(NumberShipment { order_id }).await;
    answer(sent, |reply| reply.fence)
}

/// The leader alone answers; another node says where it is.
async fn last(State(mediator): State<Mediator>) -> Response {
    let asked = mediator.query(LastShipment {}).await;
    answer(asked, |reply| reply.fence)
}

fn answer<T: serde::Serialize>(
    sent: Result<T, SendError<ShippingError>>,
    fence: impl Fn(&T) -> Fence,
) -> Response {
    let (fence, mut response) = match sent {
        Ok(reply) => (Some(fence(&reply)), Json(reply).into_response()),
        Err(failed) => {
            (failed.rejected().map(ShippingError::fence), ProblemDetails::from(&failed).into_response())
        }
    };
    if let Some(fence) = fence {
        response.headers_mut().insert(TERM, fence.term.into());
        response.headers_mut().insert(INDEX, fence.index.into());
    }
    response
}

/// What the leader's singleton wrote last, as any node has it.
async fn report(Extension(cluster): Extension<InCluster>) -> Result<Response, ProblemDetails> {
    let report = cluster.membership.kv().get(REPORT).await.map_err(|error| away(&error))?;
    let report =
        report.ok_or_else(|| ProblemDetails::new(StatusCode::NOT_FOUND, "there is no report yet"))?;
    Ok(([(axum::http::header::CONTENT_TYPE, "application/json")], report.bytes).into_response())
}

/// What a timer on every node posts: one of them does it, and the others are told so.
async fn night(Extension(cluster): Extension<InCluster>) -> Result<Response, ProblemDetails> {
    let done = nightly::run(cluster.membership.cluster(), &cluster.orders)
        .await
        .map_err(|error| unfinished(&error))?;
    match done {
        Some(night) => Ok(Json(night).into_response()),
        None => Err(ProblemDetails::new(StatusCode::CONFLICT, "another node is at it")
            .code("orders.nightly-held")
            .executed(Executed::No)),
    }
}

fn unfinished(error: &NightError) -> ProblemDetails {
    match error {
        NightError::Cluster(error) => away(error),
        NightError::Orders(store) => {
            tracing::warn!(%store, "the orders could not be counted");
            let detail = "the store of the orders does not answer now, try again later";
            ProblemDetails::new(StatusCode::SERVICE_UNAVAILABLE, detail)
                .executed(error.executed())
                .retry_after(1)
        }
    }
}

fn away(error: &Error) -> ProblemDetails {
    tracing::warn!(%error, "the cluster does not answer");
    let detail = "the cluster does not answer now, try again later";
    ProblemDetails::new(StatusCode::SERVICE_UNAVAILABLE, detail).executed(error.executed()).retry_after(1)
}

impl Problem for ShippingError {
    fn status(&self) -> StatusCode {
        StatusCode::NOT_FOUND
    }

    fn code(&self) -> Option<std::borrow::Cow<'_, str>> {
        Some(super::NOT_FOUND.into())
    }
}
