use axum::Router;
use http::{Method, StatusCode, Uri};

use crate::ProblemDetails;

/// Answers paths without a route (404) and methods without one (405) with problem+json.
///
/// Called last, when every route is there: a method is only answered so on routes that exist by then.
///
/// ```
/// use axum::{Router, routing::get};
/// let router: Router = convoke_axum::fallbacks(Router::new().route("/", get(|| async { "hello" })));
/// ```
pub fn fallbacks<S>(router: Router<S>) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    router.fallback(not_found).method_not_allowed_fallback(method_not_allowed)
}

async fn not_found(uri: Uri) -> ProblemDetails {
    ProblemDetails::new(StatusCode::NOT_FOUND, format!("there is nothing at {}", uri.path()))
}

async fn method_not_allowed(method: Method, uri: Uri) -> ProblemDetails {
    let detail = format!("{} does not take {method}: the Allow header says what it takes", uri.path());
    ProblemDetails::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}
