//! The key-value store over HTTP.
use std::time::Duration;

use axum::{
    Json, Router,
    extract::{
        Path, Query, State,
        rejection::{JsonRejection, PathRejection, QueryRejection},
    },
    http::{HeaderName, HeaderValue, StatusCode},
    middleware::map_response,
    response::Response,
    routing::{get, post},
};
use convoke::http::{ProblemDetails, fallbacks};
use convoke_cluster::{Consistency, NodeId, kv::Kv};
use serde::{Deserialize, Serialize};

use crate::problem::{bad_request, of_cluster, violation};

/// Which node answered.
pub const SERVED_BY: HeaderName = HeaderName::from_static("x-served-by");

/// The key-value store of this node, for the routes.
#[derive(Debug, Clone)]
pub struct Api {
    kv: Kv,
    consistency: Consistency,
}

impl Api {
    /// Reads are of this consistency unless they say otherwise; each request takes at most so long.
    #[must_use]
    pub fn new(kv: Kv, consistency: Consistency, timeout: Duration) -> Self {
        Self { kv: kv.timeout(timeout), consistency }
    }

    /// All routes. Each answer names the node that gave it, for whoever wonders behind a load balancer.
    pub fn router(self, node: Option<NodeId>) -> Router {
        let served_by = HeaderValue::from(node.unwrap_or_default());
        let routes = Router::new().route("/kv", post(put)).route("/kv/{*key}", get(read).delete(remove));
        let named = map_response(move |mut response: Response| {
            response.headers_mut().insert(SERVED_BY, served_by.clone());
            std::future::ready(response)
        });
        fallbacks(routes).layer(named).with_state(self)
    }
}

/// What is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pair {
    key: String,
    value: String,
}

/// The place of a write in the log: later writes have greater ones.
#[derive(Debug, Serialize)]
struct Written {
    version: u64,
}

/// What is there.
#[derive(Debug, Serialize)]
struct Found {
    value: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Read {
    consistency: Option<Wanted>,
}

/// How fresh a read is to be.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Wanted {
    Linearizable,
    Lease,
    Eventual,
}

async fn put(
    State(api): State<Api>,
    pair: Result<Json<Pair>, JsonRejection>,
) -> Result<Json<Written>, ProblemDetails> {
    let Json(Pair { key, value }) = pair.map_err(|rejection| bad_body(&rejection))?;
    if key.is_empty() {
        return Err(bad_request(StatusCode::BAD_REQUEST, "the key is empty")
            .field(violation("key", "must have at least one character")));
    }
    let version = api.kv.put(key, value).await.map_err(|error| of_cluster(&error))?;
    Ok(Json(Written { version }))
}

async fn read(
    State(api): State<Api>,
    key: Result<Path<String>, PathRejection>,
    query: Result<Query<Read>, QueryRejection>,
) -> Result<Json<Found>, ProblemDetails> {
    let key = in_path(key)?;
    let Query(Read { consistency }) = query.map_err(|rejection| {
        bad_request(StatusCode::BAD_REQUEST, rejection.body_text())
            .field(violation("consistency", "must be linearizable, lease or eventual"))
    })?;
    let consistency = consistency.map_or(api.consistency, Consistency::from);
    let found = api.kv.get(&key).consistency(consistency).await.map_err(|error| of_cluster(&error))?;
    let value = found.ok_or_else(|| not_found(&key))?;
    // Only texts are written here. Another service of the cluster may have put something else.
    let value = String::from_utf8(value.bytes.into())
        .map_err(|_| ProblemDetails::new(StatusCode::INTERNAL_SERVER_ERROR, "the value is no text"))?;
    Ok(Json(Found { value }))
}

async fn remove(
    State(api): State<Api>,
    key: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, ProblemDetails> {
    let key = in_path(key)?;
    let existed = api.kv.delete(&key).await.map_err(|error| of_cluster(&error))?;
    if existed { Ok(StatusCode::NO_CONTENT) } else { Err(not_found(&key)) }
}

fn in_path(key: Result<Path<String>, PathRejection>) -> Result<String, ProblemDetails> {
    let bad = |rejection: PathRejection| {
        bad_request(StatusCode::BAD_REQUEST, rejection.body_text()).field(violation("key", "must be UTF-8"))
    };
    key.map(|Path(key)| key).map_err(bad)
}

fn not_found(key: &str) -> ProblemDetails {
    ProblemDetails::new(StatusCode::NOT_FOUND, format!("there is nothing under {key:?}")).code("kv.not-found")
}

fn bad_body(rejection: &JsonRejection) -> ProblemDetails {
    // What is not JSON and what is other JSON are one mistake: the body is not what is asked for.
    let status = match rejection.status() {
        StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
        other => other,
    };
    let text = format!("{}: write {{\"key\": \"..\", \"value\": \"..\"}}", rejection.body_text());
    bad_request(status, text)
}

impl From<Wanted> for Consistency {
    fn from(wanted: Wanted) -> Self {
        match wanted {
            Wanted::Linearizable => Self::Linearizable,
            Wanted::Lease => Self::Lease,
            Wanted::Eventual => Self::Eventual,
        }
    }
}
