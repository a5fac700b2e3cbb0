use std::error::Error as _;

use axum::RequestExt as _;
use axum::body::to_bytes;
use axum::extract::{FromRef, FromRequest, Request};
use bytes::Bytes;
use convoke_core::{Codec, CodecError, CodecErrorKind, Executed, Limits, Mediator};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::LengthLimitError;
use serde::de::DeserializeOwned;

use super::field;
use crate::ProblemDetails;

/// The body of a request, read as JSON or MessagePack by its content type, within the node's limits.
///
/// For the functions given to [`command_with`](crate::command_with), in the last place. Unlike [`axum::Json`] it
/// is refused with problem+json that names the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content<T>(pub T);

impl<T, S> FromRequest<S> for Content<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
    Mediator: FromRef<S>,
{
    type Rejection = ProblemDetails;

    async fn from_request(request: Request, state: &S) -> Result<Self, ProblemDetails> {
        let limits = Mediator::from_ref(state).limits();
        decode(request, &limits).await.map(Self)
    }
}

/// Reads the body of a request.
pub(super) async fn decode<T: DeserializeOwned>(
    request: Request,
    limits: &Limits,
) -> Result<T, ProblemDetails> {
    let codec = codec(request.headers())?;
    let bytes = read(request, limits.payload_bytes_max).await?;
    codec.decode(&bytes, limits).map_err(|error| undecodable::<T>(codec, &bytes, &error))
}

fn codec(headers: &HeaderMap) -> Result<Codec, ProblemDetails> {
    let content_type = headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
    content_type.and_then(Codec::from_content_type).ok_or_else(|| {
        let found =
            if content_type.is_some() { "this content type is not read here" } else { "no content type" };
        ProblemDetails::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!("{found}: send application/json or application/msgpack"),
        )
        .code("unsupported-media-type")
        .executed(Executed::No)
        .header(ACCEPT, HeaderValue::from_static("application/json, application/msgpack"))
    })
}

async fn read(request: Request, bytes_max: usize) -> Result<Bytes, ProblemDetails> {
    // A limit that was set on the route holds as well.
    to_bytes(request.with_limited_body().into_body(), bytes_max).await.map_err(|error| {
        let mut cause = error.source();
        while let Some(source) = cause {
            if source.is::<LengthLimitError>() {
                return too_long(&format!("the body may have at most {bytes_max} bytes"));
            }
            cause = source.source();
        }
        ProblemDetails::new(StatusCode::BAD_REQUEST, "the body broke off").executed(Executed::No)
    })
}

fn too_long(text: &str) -> ProblemDetails {
    ProblemDetails::new(StatusCode::PAYLOAD_TOO_LARGE, text).executed(Executed::No)
}

fn undecodable<T: DeserializeOwned>(codec: Codec, bytes: &[u8], error: &CodecError) -> ProblemDetails {
    let text = match error.kind() {
        CodecErrorKind::TooLarge => return too_long(&error.to_string()),
        _ if bytes.is_empty() => format!("the body is empty: send {}", codec.content_type()),
        _ => error.to_string(),
    };
    let problem = field::undecodable(text);
    let malformed = error.kind() == CodecErrorKind::Malformed;
    match malformed.then(|| field::of_content::<T>(codec, bytes, error)).flatten() {
        Some(violation) => problem.field(violation),
        None => problem,
    }
}
