//! What a dead letter looks like in NATS, where it lies and on its way back.
//!
//! | header | of |
//! |---|---|
//! | those of the message | both |
//! | `Convoke-Handler` | both: who gave up; empty when no single handler did |
//! | `Convoke-Replays` | both: how often it was replayed; on its way back this time counts |
//! | `Convoke-Position` | both: `<epoch> <sequence>` of the message in its first stream |
//! | `Convoke-Holds` | both, when messages of its key are parked behind it |
//! | `Convoke-Skip` | on its way back, when it was dropped: it lets go what is parked |
//! | `Convoke-Target` | the letter: `node.<node>`, `group.<group>` or `jobs.all` |
//! | `Convoke-Node`, `Convoke-Attempts`, `Convoke-Errors` | the letter |

use std::{sync::Arc, time::SystemTime};

use async_nats::{HeaderMap, Message};
use convoke_core::{Audience, Codec, DeadLetter, Envelope, Incoming, Letter, Payload, Position, Replay};
use tokio::time::Instant;

use crate::wire;

/// Longest list of errors in a dead letter, in bytes of JSON; the first ones are kept.
const ERRORS_BYTES_MAX: usize = 4096;

const HANDLER: &str = "Convoke-Handler";
const NODE: &str = "Convoke-Node";
const TARGET: &str = "Convoke-Target";
const ATTEMPTS: &str = "Convoke-Attempts";
const REPLAYS: &str = "Convoke-Replays";
const HOLDS: &str = "Convoke-Holds";
const SKIP: &str = "Convoke-Skip";
const POSITION: &str = "Convoke-Position";
const ERRORS: &str = "Convoke-Errors";

/// The headers of a letter.
pub(crate) fn headers(letter: &DeadLetter, codec: Codec) -> HeaderMap {
    let mut headers = headers_of_both(letter, codec, letter.replays);
    wire::insert(&mut headers, NODE, &letter.node);
    wire::insert(&mut headers, TARGET, &letter.target());
    wire::insert(&mut headers, ATTEMPTS, &letter.attempts.to_string());
    wire::insert(&mut headers, ERRORS, &errors_json(&letter.errors));
    headers
}

/// The headers of the message that is replayed, or that was dropped and lets go what it holds.
pub(crate) fn replay_headers(letter: &DeadLetter, codec: Codec, skip: bool) -> HeaderMap {
    let mut headers = headers_of_both(letter, codec, letter.replays.saturating_add(1));
    if skip {
        wire::insert(&mut headers, SKIP, "1");
    }
    headers
}

fn headers_of_both(letter: &DeadLetter, codec: Codec, replays: u32) -> HeaderMap {
    let mut headers = wire::headers(&letter.message.envelope, codec);
    wire::insert(&mut headers, HANDLER, &letter.handler);
    wire::insert(&mut headers, REPLAYS, &replays.to_string());
    if letter.holds {
        wire::insert(&mut headers, HOLDS, "1");
    }
    if let Some(Position { epoch, sequence }) = letter.message.position {
        wire::insert(&mut headers, POSITION, &format!("{epoch} {sequence}"));
    }
    headers
}

/// What a replayed message says about itself, and where it first stood.
pub(crate) fn read_replay(
    headers: Option<&HeaderMap>,
    keep: std::time::Duration,
) -> (Replay, Option<Position>) {
    let handler = text(headers, HANDLER).unwrap_or_default().to_owned();
    let said = |name| text(headers, name).is_some();
    let number = number(headers, REPLAYS).max(1);
    (Replay { handler, number, keep, holds: said(HOLDS), skip: said(SKIP) }, position(headers))
}

/// Reads a letter. One that cannot be read says so, and can still be dropped.
pub(crate) fn read(
    service: &str,
    name: &str,
    number_of_letter: u64,
    buried_at: SystemTime,
    message: &Message,
) -> Letter {
    let headers = message.headers.as_ref();
    let (envelope, codec, trouble) = match wire::read(message) {
        Ok(read) => (read.envelope, read.codec, None),
        Err(error) => (Envelope::default(), Codec::default(), Some(error)),
    };
    let mut errors: Vec<String> =
        text(headers, ERRORS).and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
    errors.extend(trouble);
    let node = text(headers, NODE).unwrap_or_default().to_owned();
    let incoming = Incoming {
        name: Arc::from(name),
        payload: Payload::Bytes { codec, bytes: message.payload.clone() },
        envelope,
        received: Instant::now(),
        position: position(headers),
    };
    let letter = DeadLetter {
        message: incoming,
        handler: text(headers, HANDLER).unwrap_or_default().to_owned(),
        audience: audience(text(headers, TARGET).unwrap_or_default()),
        node,
        errors,
        attempts: number(headers, ATTEMPTS),
        replays: number(headers, REPLAYS),
        holds: text(headers, HOLDS).is_some(),
    };
    Letter { number: number_of_letter, buried_at, service: service.to_owned(), letter }
}

fn audience(target: &str) -> Audience {
    match target.split_once('.') {
        Some(("group", group)) => Audience::Group(group.to_owned()),
        Some(("jobs", _)) => Audience::Jobs,
        _ => Audience::Node,
    }
}

fn text<'a>(headers: Option<&'a HeaderMap>, name: &str) -> Option<&'a str> {
    headers?.get(name).map(async_nats::HeaderValue::as_str)
}

fn number(headers: Option<&HeaderMap>, name: &str) -> u32 {
    text(headers, name).and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn position(headers: Option<&HeaderMap>) -> Option<Position> {
    let (epoch, sequence) = text(headers, POSITION)?.split_once(' ')?;
    Some(Position { epoch: epoch.parse().ok()?, sequence: sequence.parse().ok()? })
}

/// As many errors as fit; JSON leaves no line break in the header.
fn errors_json(errors: &[String]) -> String {
    let mut kept = Vec::new();
    let mut bytes = 2;
    for error in errors {
        let end = error
            .char_indices()
            .map(|(at, c)| at + c.len_utf8())
            .take_while(|end| *end <= ERRORS_BYTES_MAX / 4);
        let short = &error[..end.last().unwrap_or(0)];
        let json = serde_json::Value::from(short);
        bytes += json.to_string().len() + 1;
        if bytes > ERRORS_BYTES_MAX {
            break;
        }
        kept.push(json);
    }
    serde_json::Value::from(kept).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_fit_into_a_header() {
        let errors: Vec<_> = (0..1000).map(|n| format!("error {n}\r\nä{}", "x".repeat(5000))).collect();
        let json = errors_json(&errors);
        assert!(json.len() <= ERRORS_BYTES_MAX && !json.contains('\n'), "{} bytes", json.len());
        assert!(json.starts_with("[\"error 0"), "{json}");
        assert_eq!(errors_json(&["one".to_owned()]), "[\"one\"]");
    }
}
