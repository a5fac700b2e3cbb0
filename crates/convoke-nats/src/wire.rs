//! What Convoke messages look like in NATS.
//!
//! | part | where |
//! |---|---|
//! | id and deadline of a plain request | last token of the reply subject ([`token`]) |
//! | id and node of an event that nothing caused | header `Nats-Msg-Id` ([`origin`]) |
//! | envelope, when there is more to it or it is stored | header `Convoke`, its compact text |
//! | trace context | header `traceparent` |
//! | headers of the sender | headers `x-<name>` |
//! | JSON instead of MessagePack | header `content-type` |
//! | an answer that is not a first reply | header `Convoke-Status` ([`answer`]) |
//!
//! A header costs a quarter of the throughput, so a plain request and its reply have none, and a plain event has one.

pub(crate) mod answer;
#[cfg(test)]
mod noise;
mod origin;
pub(crate) mod token;

use async_nats::{HeaderMap, Message};
use convoke_core::{Codec, Envelope};

use token::Token;

/// Under what a stream stores a message once.
pub(crate) const MESSAGE_ID: &str = "Nats-Msg-Id";
const ENVELOPE: &str = "Convoke";
const TRACEPARENT: &str = "traceparent";
const CONTENT_TYPE: &str = "content-type";
const USER: &str = "x-";

/// Characters of a stranger's text that an error repeats.
const SHOWN_CHARS_MAX: usize = 64;

/// The longest trace context that is read. It goes on with everything a handler sends; W3C's has 55 bytes.
const TRACEPARENT_BYTES_MAX: usize = 128;

/// The headers of a request: none when the reply token says it all.
pub(crate) fn request_headers(envelope: &Envelope, codec: Codec) -> Option<HeaderMap> {
    let plain = envelope.correlation.is_none()
        && envelope.causation.is_none()
        && envelope.source.is_none()
        && envelope.idempotency_key.is_none()
        && envelope.traceparent.is_none()
        && envelope.headers.is_empty();
    if plain { content_type(codec) } else { Some(headers(envelope, codec)) }
}

/// Only what tells the codec.
pub(crate) fn content_type(codec: Codec) -> Option<HeaderMap> {
    (codec != Codec::default()).then(|| {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, codec.content_type());
        headers
    })
}

/// The headers of an event, with its id.
pub(crate) fn event_headers(envelope: &Envelope, codec: Codec) -> HeaderMap {
    let Some(origin) = origin::write(envelope) else {
        let mut headers = headers(envelope, codec);
        headers.insert(MESSAGE_ID, envelope.id().to_string());
        return headers;
    };
    let mut headers = content_type(codec).unwrap_or_default();
    headers.insert(MESSAGE_ID, origin);
    insert_what_was_added(&mut headers, envelope);
    headers
}

/// All headers of a message.
pub(crate) fn headers(envelope: &Envelope, codec: Codec) -> HeaderMap {
    let mut headers = content_type(codec).unwrap_or_default();
    insert(&mut headers, ENVELOPE, &envelope.to_text());
    insert_what_was_added(&mut headers, envelope);
    headers
}

/// What travels beside the envelope's text.
fn insert_what_was_added(headers: &mut HeaderMap, envelope: &Envelope) {
    if let Some(traceparent) = &envelope.traceparent {
        insert(headers, TRACEPARENT, traceparent);
    }
    for (name, value) in envelope.headers.iter() {
        headers.insert(format!("{USER}{name}"), value);
    }
}

/// Adds a header. A control character would end it, so it becomes `?`.
pub(crate) fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) {
    let is_plain = value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if !is_plain && value.chars().any(char::is_control) {
        headers.insert(name, value.replace(char::is_control, "?"));
    } else {
        headers.insert(name, value);
    }
}

/// What a message says about itself.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) envelope: Envelope,
    /// It came without an envelope: the id is not the sender's.
    pub(crate) stranger: bool,
    pub(crate) codec: Codec,
}

/// Reads the envelope of a message: from its header, else from its reply token.
///
/// # Errors
/// What is malformed, as a sentence for the sender.
pub(crate) fn read(message: &Message) -> Result<Read, String> {
    let from_token = || {
        let reply = message.reply.as_deref()?;
        Token::read(reply.rsplit('.').next()?).map(|token| token.envelope())
    };
    let Some(headers) = &message.headers else {
        let envelope = from_token();
        let stranger = envelope.is_none();
        return Ok(Read { envelope: envelope.unwrap_or_default(), stranger, codec: Codec::default() });
    };
    let found = Found::look(headers);
    let envelope = match found.envelope {
        Some(text) => Some(Envelope::from_text(text).map_err(|err| err.to_string())?),
        None => from_token().or_else(|| origin::read(found.message_id?)),
    };
    let stranger = envelope.is_none();
    let mut envelope = envelope.unwrap_or_default();
    add_what_was_added(headers, &mut envelope)?;
    Ok(Read { envelope, stranger, codec: codec_of(found.content_type)? })
}

/// The headers that are ours, in one look: each costs a hash.
#[derive(Default)]
struct Found<'a> {
    envelope: Option<&'a str>,
    message_id: Option<&'a str>,
    content_type: Option<&'a str>,
}

impl<'a> Found<'a> {
    fn look(headers: &'a HeaderMap) -> Self {
        let mut found = Self::default();
        for (name, values) in headers.iter() {
            let value = values.first().map(async_nats::HeaderValue::as_str);
            match name.as_ref() {
                ENVELOPE => found.envelope = value,
                MESSAGE_ID => found.message_id = value,
                CONTENT_TYPE => found.content_type = value,
                _ => {}
            }
        }
        found
    }
}

pub(crate) fn read_codec(headers: &HeaderMap) -> Result<Codec, String> {
    codec_of(headers.get(CONTENT_TYPE).map(async_nats::HeaderValue::as_str))
}

fn codec_of(content_type: Option<&str>) -> Result<Codec, String> {
    match content_type {
        None => Ok(Codec::default()),
        Some(text) => Codec::from_content_type(text)
            .ok_or_else(|| format!("the content type {:?} is not understood", shown(text))),
    }
}

/// The beginning of what somebody sent, for the sentence that tells him.
fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).collect()
}

fn add_what_was_added(headers: &HeaderMap, envelope: &mut Envelope) -> Result<(), String> {
    for (name, values) in headers.iter() {
        let name: &str = name.as_ref();
        let Some(value) = values.first().map(|value| value.as_str()) else { continue };
        if name.eq_ignore_ascii_case(TRACEPARENT) {
            envelope.traceparent = (value.len() <= TRACEPARENT_BYTES_MAX).then(|| value.into());
        } else if let Some(user) = name.strip_prefix(USER).or_else(|| name.strip_prefix("X-")) {
            envelope.headers.insert(user, value)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use convoke_core::Expiry;
    use std::time::Duration;
    use uuid::Uuid;

    use super::*;

    fn message(reply: Option<&str>, headers: Option<HeaderMap>) -> Message {
        Message {
            subject: "s".into(),
            reply: reply.map(Into::into),
            payload: bytes::Bytes::new(),
            headers,
            status: None,
            description: None,
            length: 0,
        }
    }

    fn envelope() -> Envelope {
        let mut envelope = Envelope::with_id(Uuid::now_v7());
        envelope.expiry = Some(Expiry::after(Duration::from_secs(2)));
        envelope
    }

    #[test]
    fn a_plain_request_travels_without_headers() {
        let sent = envelope();
        assert!(request_headers(&sent, Codec::MessagePack).is_none());
        let reply = format!("_INBOX.abc.{}", Token::of(&sent, 7));
        let read = read(&message(Some(&reply), None)).expect("well formed").envelope;
        assert_eq!((read.id(), read.expiry), (sent.id(), sent.expiry));
    }

    #[test]
    fn everything_else_travels_in_headers() {
        let mut sent = envelope();
        sent.idempotency_key = Some("order-17".into());
        sent.traceparent = Some("00-1-2-01".into());
        sent.headers.insert("tenant", "acme").expect("a header");
        let headers = request_headers(&sent, Codec::Json);
        let read = read(&message(None, headers)).expect("well formed");
        let envelope = read.envelope;
        assert!(!read.stranger);
        assert_eq!(read.codec, Codec::Json);
        assert_eq!(envelope.to_text(), sent.to_text());
        assert_eq!(envelope.traceparent, sent.traceparent);
        assert_eq!(envelope.headers, sent.headers);
    }

    #[test]
    fn a_stranger_needs_nothing_and_a_malformed_envelope_is_told() {
        let read_plain = read(&message(Some("_INBOX.abc.def"), None)).expect("well formed");
        assert!(read_plain.stranger);
        let mut headers = HeaderMap::new();
        headers.insert("Convoke", "1 nonsense");
        assert!(read(&message(None, Some(headers))).expect_err("malformed").contains("malformed envelope"));
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "text/plain");
        assert!(read(&message(None, Some(headers))).expect_err("unknown").contains("text/plain"));
    }
}
