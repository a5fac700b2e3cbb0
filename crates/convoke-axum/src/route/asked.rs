//! What a request's head says about how its message is sent.

use axum::response::{IntoResponse, Response};
use convoke_core::{Codec, Envelope, Executed, Kind, Message, MessageKind, trace};
use http::header::ACCEPT;
use http::{HeaderMap, StatusCode};
use opentelemetry::context::FutureExt as _;
use opentelemetry::trace::{SpanContext, TraceContextExt as _};

use crate::ProblemDetails;

const IDEMPOTENCY_KEY: &str = "idempotency-key";

pub(super) struct Asked {
    pub(super) key: Option<String>,
    pub(super) trace: Trace,
    pub(super) accepts: Codec,
}

impl Asked {
    pub(super) fn of<M: Message>(headers: &HeaderMap) -> Result<Self, Box<Response>> {
        let key = key::<M>(headers).map_err(|refused| Box::new(refused.into_response()))?;
        Ok(Self { key, trace: Trace::of(headers), accepts: accepted(headers) })
    }
}

/// The key of a command. A query has no effect to repeat, so there it says nothing.
fn key<M: Message>(headers: &HeaderMap) -> Result<Option<String>, ProblemDetails> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if <M::Kind as Kind>::KIND != MessageKind::Command {
        return Ok(None);
    }
    if !M::IDEMPOTENT {
        let text = format!("`{}` is not idempotent, a repeat would run again: leave the header out", M::NAME);
        return Err(bad_key(&text));
    }
    if values.next().is_some() {
        return Err(bad_key("the header stands there more than once"));
    }
    let key = value.to_str().map_err(|_| bad_key("an idempotency key has visible ASCII characters only"))?;
    Envelope::check_key(key).map_err(bad_key)?;
    Ok(Some(key.to_owned()))
}

fn bad_key(text: &str) -> ProblemDetails {
    ProblemDetails::new(StatusCode::BAD_REQUEST, format!("header Idempotency-Key: {text}"))
        .code("idempotency-key")
        .title("The idempotency key cannot be used")
        .executed(Executed::No)
}

/// The caller's span.
pub(super) struct Trace(Option<SpanContext>);

impl Trace {
    fn of(headers: &HeaderMap) -> Self {
        let text = headers.get("traceparent").and_then(|value| value.to_str().ok());
        Self(text.and_then(trace::parse))
    }

    /// Runs a future under the caller's span, unless a span of this process is active: that one is nearer.
    pub(super) async fn around<F: Future>(self, future: F) -> F::Output {
        let current = opentelemetry::Context::current();
        match self.0 {
            Some(span) if !current.has_active_span() => {
                future.with_context(current.with_remote_span_context(span)).await
            }
            _ => future.await,
        }
    }
}

/// How the reply is written: as JSON, unless MessagePack is wanted more.
fn accepted(headers: &HeaderMap) -> Codec {
    let (mut json, mut message_pack) = (0, 0);
    let lines = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    for range in lines.flat_map(|line| line.split(',')) {
        let weight = weight(range);
        match Codec::from_content_type(range) {
            Some(Codec::MessagePack) => message_pack = weight.max(message_pack),
            Some(_) => json = weight.max(json),
            None => {}
        }
    }
    if message_pack > json { Codec::MessagePack } else { Codec::Json }
}

/// The `q` of a media range, in thousandths.
fn weight(range: &str) -> u32 {
    let q = range.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
    });
    match q {
        None => 1000,
        Some(q) => q.parse::<f32>().map_or(0, |q| (q.clamp(0.0, 1.0) * 1000.0) as u32),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_pack_is_written_when_it_is_wanted_more_than_json() {
        for (accept, expected) in [
            ("", Codec::Json),
            ("*/*", Codec::Json),
            ("text/html, application/*", Codec::Json),
            ("application/msgpack", Codec::MessagePack),
            ("application/x-msgpack, */*;q=0.1", Codec::MessagePack),
            ("application/msgpack, application/json", Codec::Json),
            ("application/json;q=0.5, application/msgpack;q=0.6", Codec::MessagePack),
            ("application/json;q=0.7, application/msgpack; q=0.6", Codec::Json),
            ("application/msgpack;q=0", Codec::Json),
            ("application/msgpack;q=x", Codec::Json),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, accept.parse().expect("a header value"))]);
            assert_eq!(accepted(&headers), expected, "{accept}");
        }
    }
}
