use std::fmt;
use std::marker::PhantomData;

use axum::body::to_bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use convoke_core::{Executed, Limits, Message};
use http::StatusCode;
use http::header::CONTENT_TYPE;

use super::Source;
use crate::ProblemDetails;

/// How much of a rejection's text is told.
const REJECTION_BYTES_MAX: usize = 4096;

/// A function makes the message from what `A`, a tuple of extractors, took from the request.
pub struct FromParts<F, A> {
    make: F,
    extractors: PhantomData<fn() -> A>,
}

/// A function from extractors to a message. Implemented for closures and functions of up to four arguments.
#[diagnostic::on_unimplemented(
    message = "this does not make a message from a request",
    label = "not a function from axum extractors to a message",
    note = "write the type of each argument: `|Path(id): Path<u64>| ShipOrder {{ id }}`"
)]
pub trait Make<A>: Clone + Send + Sync + 'static {
    /// What it makes.
    type Message: Message;

    /// Makes it.
    fn make(&self, extracted: A) -> Self::Message;
}

/// A tuple of up to four axum extractors, of which the last may read the body.
#[diagnostic::on_unimplemented(
    message = "these cannot all be taken from a request",
    note = "every argument is an axum extractor, and only the last one may read the body"
)]
pub trait Extractors<S, Via>: Sized + Send + 'static {
    /// Extracts all, or answers for the first that cannot be.
    fn extract(request: Request, state: &S) -> impl Future<Output = Result<Self, Box<Response>>> + Send;
}

impl<F, A> FromParts<F, A> {
    pub(super) fn new(make: F) -> Self {
        Self { make, extractors: PhantomData }
    }
}

impl<F, A, S, Via> Source<F::Message, S, Via> for FromParts<F, A>
where
    F: Make<A>,
    A: Extractors<S, Via>,
    S: Sync,
{
    async fn message(self, request: Request, state: &S, _: &Limits) -> Result<F::Message, Box<Response>> {
        match A::extract(request, state).await {
            Ok(extracted) => Ok(self.make.make(extracted)),
            Err(response) => Err(refused(*response).await),
        }
    }
}

impl<F: Clone, A> Clone for FromParts<F, A> {
    fn clone(&self) -> Self {
        Self::new(self.make.clone())
    }
}

impl<F, A> fmt::Debug for FromParts<F, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FromParts").finish_non_exhaustive()
    }
}

impl<S: Sync> Extractors<S, ()> for () {
    async fn extract(_: Request, _: &S) -> Result<Self, Box<Response>> {
        Ok(())
    }
}

impl<F, M> Make<()> for F
where
    F: Fn() -> M + Clone + Send + Sync + 'static,
    M: Message,
{
    type Message = M;

    fn make(&self, (): ()) -> M {
        self()
    }
}

macro_rules! extractors {
    ($($part:ident $name:ident),*; $last:ident $last_name:ident) => {
        impl<S, Via, $($part,)* $last> Extractors<S, Via> for ($($part,)* $last,)
        where
            S: Send + Sync,
            $($part: FromRequestParts<S> + Send + 'static,)*
            $last: FromRequest<S, Via> + Send + 'static,
        {
            async fn extract(request: Request, state: &S) -> Result<Self, Box<Response>> {
                let (parts, body) = request.into_parts();
                $(
                    let mut parts = parts;
                    let $name = $part::from_request_parts(&mut parts, state).await.map_err(rejected)?;
                )*
                let request = Request::from_parts(parts, body);
                let $last_name = $last::from_request(request, state).await.map_err(rejected)?;
                Ok(($($name,)* $last_name,))
            }
        }

        impl<F, M, $($part,)* $last> Make<($($part,)* $last,)> for F
        where
            F: Fn($($part,)* $last) -> M + Clone + Send + Sync + 'static,
            M: Message,
        {
            type Message = M;

            fn make(&self, ($($name,)* $last_name,): ($($part,)* $last,)) -> M {
                self($($name,)* $last_name)
            }
        }
    };
}

extractors!(; A a);
extractors!(A a; B b);
extractors!(A a, B b; C c);
extractors!(A a, B b, C c; D d);

fn rejected(rejection: impl IntoResponse) -> Box<Response> {
    Box::new(rejection.into_response())
}

/// An extractor's rejection as problem+json, with its status and its headers.
async fn refused(response: Response) -> Box<Response> {
    let (mut parts, body) = response.into_parts();
    let plain = parts.headers.get(CONTENT_TYPE).is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"));
    if !plain {
        return Box::new(Response::from_parts(parts, body)); // it has a form of its own
    }
    let text = to_bytes(body, REJECTION_BYTES_MAX).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let problem = if parts.status.is_server_error() {
        tracing::error!(rejection = %text, "an extractor failed");
        ProblemDetails::new(parts.status, "the server could not read the request")
    } else if parts.status == StatusCode::BAD_REQUEST {
        super::field::undecodable(text)
    } else {
        ProblemDetails::new(parts.status, text)
    };
    let mut response = problem.executed(Executed::No).into_response();
    parts.headers.remove(CONTENT_TYPE);
    parts.headers.remove(http::header::CONTENT_LENGTH);
    response.headers_mut().extend(parts.headers);
    Box::new(response)
}
