use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use convoke_core::{Limits, Message};

use super::content::decode;
use super::field;

/// Where the message of a [`Route`](crate::Route) comes from.
///
/// `Via` is what tells apart the ways to extract, as in axum's own handlers.
#[diagnostic::on_unimplemented(
    message = "`{M}` cannot be made from a request this way",
    note = "every argument of the function is an axum extractor, and only the last one may read the body"
)]
pub trait Source<M, S, Via>: Clone + Send + Sync + 'static {
    /// Makes the message, or the answer that says why not.
    fn message(
        self,
        request: Request,
        state: &S,
        limits: &Limits,
    ) -> impl Future<Output = Result<M, Box<Response>>> + Send;
}

/// The body is the message.
#[derive(Debug, Clone, Copy)]
pub struct FromBody;

/// The query string is the message.
#[derive(Debug, Clone, Copy)]
pub struct FromQuery;

impl<M: Message, S: Sync> Source<M, S, ()> for FromBody {
    async fn message(self, request: Request, _: &S, limits: &Limits) -> Result<M, Box<Response>> {
        decode(request, limits).await.map_err(|refused| Box::new(refused.into_response()))
    }
}

impl<M: Message, S: Sync> Source<M, S, ()> for FromQuery {
    async fn message(self, request: Request, _: &S, _: &Limits) -> Result<M, Box<Response>> {
        match axum::extract::Query::<M>::try_from_uri(request.uri()) {
            Ok(axum::extract::Query(message)) => Ok(message),
            Err(rejection) => {
                let text = rejection.body_text();
                let violation = field::of_query(&text);
                let problem =
                    violation.into_iter().fold(field::undecodable(text), |problem, v| problem.field(v));
                Err(Box::new(problem.into_response()))
            }
        }
    }
}
