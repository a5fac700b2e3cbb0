use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRef, Request};
use axum::handler::Handler;
use axum::response::{IntoResponse, Response};
use convoke_core::{BoxFuture, Call, Command, Mediator, Message, Query};
use http::{HeaderName, HeaderValue, StatusCode};

use crate::Problem;

mod asked;
mod content;
mod field;
mod parts;
mod reply;
mod source;

pub use content::Content;
pub use parts::{Extractors, FromParts, Make};
pub use source::{FromBody, FromQuery, Source};

use asked::Asked;
use reply::{Replies, answer_of};

/// A message as an axum handler: what goes into `post(..)` or `get(..)`.
///
/// The router's state is the [`Mediator`], or a type of yours of which it is a part (`Mediator: FromRef<S>`). A reply
/// is answered 200, or 204 when it is `()`, as JSON, or as MessagePack to who asks for it in `Accept`. Refusals and
/// errors are answered with [`ProblemDetails`](crate::ProblemDetails).
///
/// A `traceparent` is carried on. An `Idempotency-Key` is the key of an idempotent command, and a replayed answer
/// says so with `Idempotent-Replayed: true`; on any other command the key is refused, because it would promise
/// what is not kept.
pub struct Route<M: Message, F> {
    source: F,
    begin: for<'a> fn(&'a Mediator, M) -> Call<'a, M>,
    timeout: Option<Duration>,
    replies: Replies<M::Reply>,
}

/// The request's body is the command: JSON, or MessagePack, by its content type.
pub fn command<C>() -> Route<C, FromBody>
where
    C: Command,
    C::Error: Problem,
{
    Route::new(FromBody, |mediator, command| mediator.send(command))
}

/// The query string is the query.
pub fn query<Q>() -> Route<Q, FromQuery>
where
    Q: Query,
    Q::Error: Problem,
{
    Route::new(FromQuery, |mediator, query| mediator.query(query))
}

/// Makes the command from parts of the request: a function of up to four axum extractors.
///
/// The last may read the body; [`Content`] reads it within the node's limits.
///
/// ```
/// # use convoke::{Command, Mediator};
/// # use serde::{Deserialize, Serialize};
/// use axum::{Router, extract::Path, routing::put};
/// use convoke_axum::{Content, command_with};
///
/// # #[derive(Debug, Clone, Serialize, Deserialize, Command)]
/// # #[command(name = "items.rename.v1")]
/// # struct RenameItem { id: u64, name: String }
/// #[derive(serde::Deserialize)]
/// struct NewName { name: String }
///
/// let router: Router<Mediator> = Router::new().route(
///     "/items/{id}/name",
///     put(command_with(|Path(id): Path<u64>, Content(new): Content<NewName>| RenameItem { id, name: new.name })),
/// );
/// ```
pub fn command_with<F, A>(make: F) -> Route<F::Message, FromParts<F, A>>
where
    F: Make<A>,
    F::Message: Command,
    <F::Message as Message>::Error: Problem,
{
    Route::new(FromParts::new(make), |mediator, command| mediator.send(command))
}

/// Makes the query from parts of the request: a function of up to four axum extractors.
pub fn query_with<F, A>(make: F) -> Route<F::Message, FromParts<F, A>>
where
    F: Make<A>,
    F::Message: Query,
    <F::Message as Message>::Error: Problem,
{
    Route::new(FromParts::new(make), |mediator, query| mediator.query(query))
}

impl<M: Message, F> Route<M, F> {
    fn new(source: F, begin: for<'a> fn(&'a Mediator, M) -> Call<'a, M>) -> Self {
        Self { source, begin, timeout: None, replies: Replies::default() }
    }

    /// How long to wait for the outcome. Default: the node's `request_timeout`.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The status of a reply. Default: 201 with a [`location`](Self::location), 204 for `()`, else 200.
    #[must_use]
    pub fn status(mut self, status: StatusCode) -> Self {
        self.replies.status = Some(status);
        self
    }

    /// Answers 201 with a `Location` made from the reply, such as `/orders/17`.
    #[must_use]
    pub fn location(mut self, location: impl Fn(&M::Reply) -> String + Send + Sync + 'static) -> Self {
        self.replies.location = Some(Arc::new(location));
        self
    }

    /// Adds a header to every reply.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.replies.headers.push((name, value));
        self
    }

    async fn answer<S, Via>(self, request: Request, state: S) -> Result<Response, Box<Response>>
    where
        M::Error: Problem,
        F: Source<M, S, Via>,
        Mediator: FromRef<S>,
    {
        let mediator = Mediator::from_ref(&state);
        let asked = Asked::of::<M>(request.headers())?;
        let message = self.source.message(request, &state, &mediator.limits()).await?;
        let mut call = (self.begin)(&mediator, message);
        if let Some(timeout) = self.timeout {
            call = call.timeout(timeout);
        }
        if let Some(key) = asked.key {
            call = call.idempotency_key(key);
        }
        let outcome = asked.trace.around(call.detailed()).await;
        Ok(answer_of::<M>(outcome, &self.replies, asked.accepts))
    }
}

impl<M, F, S, Via> Handler<Via, S> for Route<M, F>
where
    M: Message,
    M::Error: Problem,
    F: Source<M, S, Via>,
    Mediator: FromRef<S>,
    S: Clone + Send + Sync + 'static,
{
    type Future = BoxFuture<'static, Response>;

    fn call(self, request: Request, state: S) -> Self::Future {
        Box::pin(async move {
            self.answer(request, state).await.unwrap_or_else(|refused| refused.into_response())
        })
    }
}

impl<M: Message, F: Clone> Clone for Route<M, F> {
    fn clone(&self) -> Self {
        let Self { source, begin, timeout, replies } = self;
        Self { source: source.clone(), begin: *begin, timeout: *timeout, replies: replies.clone() }
    }
}

impl<M: Message, F> fmt::Debug for Route<M, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route")
            .field("message", &M::NAME)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
