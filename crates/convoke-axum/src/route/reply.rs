//! Outcomes as responses.

use std::any::TypeId;
use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use convoke_core::{Codec, Executed, Message, Replied, SendError};
use http::header::{CONTENT_TYPE, LOCATION, VARY};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use tracing::{error, warn};

use crate::redact::redacted;
use crate::{Problem, ProblemDetails};

const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Where the resource is that a reply is about.
type Locate<T> = dyn Fn(&T) -> String + Send + Sync;

/// How the replies of a route are answered.
pub(super) struct Replies<T> {
    pub(super) status: Option<StatusCode>,
    pub(super) location: Option<Arc<Locate<T>>>,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
}

impl<T> Default for Replies<T> {
    fn default() -> Self {
        Self { status: None, location: None, headers: Vec::new() }
    }
}

impl<T> Clone for Replies<T> {
    fn clone(&self) -> Self {
        let Self { status, location, headers } = self;
        Self { status: *status, location: location.clone(), headers: headers.clone() }
    }
}

type Outcome<M> = Result<Replied<<M as Message>::Reply>, Replied<SendError<<M as Message>::Error>>>;

pub(super) fn answer_of<M>(outcome: Outcome<M>, replies: &Replies<M::Reply>, codec: Codec) -> Response
where
    M: Message,
    M::Error: Problem,
{
    let (mut response, replayed) = match outcome {
        Ok(replied) => (replies.answer(&replied.value, M::NAME, codec), replied.replayed),
        Err(failed) => {
            note(M::NAME, &failed.value);
            (ProblemDetails::from(&failed.value).into_response(), failed.replayed)
        }
    };
    if replayed {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

/// Logs what the caller is not told.
fn note<E>(name: &str, failed: &SendError<E>) {
    match failed {
        SendError::Faulted(fault) => error!(name, fault = %redacted(fault), "a request failed"),
        SendError::Unavailable(what) => {
            warn!(name, what = %redacted(what), "a request was refused: unavailable")
        }
        _ => {}
    }
}

impl<T: Serialize + 'static> Replies<T> {
    fn answer(&self, reply: &T, name: &str, codec: Codec) -> Response {
        let empty = TypeId::of::<T>() == TypeId::of::<()>();
        let mut response = if empty { Ok(Response::new(Body::empty())) } else { written(reply, codec) }
            .unwrap_or_else(|error| {
                error!(name, %error, "a reply could not be written");
                let problem = "the request was carried out, but its reply could not be written";
                let problem = ProblemDetails::new(StatusCode::INTERNAL_SERVER_ERROR, problem);
                problem.code("faulted").executed(Executed::Yes).into_response()
            });
        if response.status() != StatusCode::OK {
            return response;
        }
        let default = match (&self.location, empty) {
            (Some(_), _) => StatusCode::CREATED,
            (None, true) => StatusCode::NO_CONTENT,
            (None, false) => StatusCode::OK,
        };
        *response.status_mut() = self.status.unwrap_or(default);
        if let Some(location) = &self.location {
            match HeaderValue::try_from(location(reply)) {
                Ok(location) => _ = response.headers_mut().insert(LOCATION, location),
                // The resource is there, so this is no reason to answer that something went wrong.
                Err(error) => error!(name, %error, "a location cannot be a header"),
            }
        }
        response.headers_mut().extend(self.headers.iter().cloned());
        response
    }
}

fn written<T: Serialize>(reply: &T, codec: Codec) -> Result<Response, convoke_core::CodecError> {
    let mut response = Response::new(Body::from(codec.encode(reply)?));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(codec.content_type()));
    headers.insert(VARY, HeaderValue::from_static("accept"));
    Ok(response)
}
