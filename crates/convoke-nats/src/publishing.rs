//! Events, enqueued commands and dead letters go out.

use std::{sync::Arc, time::Duration};

use async_nats::HeaderMap;
use bytes::Bytes;
use convoke_core::{Codec, DeadLetter, Receipt, TransportError, TransportErrorKind};
use serde::Deserialize;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep, timeout_at},
};

use crate::{api, inbox::Inbox, link::Link, vitals::Vitals, wire};

/// How long the server may take to confirm before the event is sent again under its id.
const CONFIRM_MAX: Duration = Duration::from_secs(2);
/// Pause after an answer that no stream is there to store it.
const NO_STREAM_PAUSE: Duration = Duration::from_millis(250);
/// Longest list of errors in a dead letter, in bytes of JSON; the first ones are kept.
const ERRORS_BYTES_MAX: usize = 4096;

const MESSAGE_ID: &str = "Nats-Msg-Id";

/// Publishes to streams, with a bound on what is not confirmed.
#[derive(Debug)]
pub(crate) struct Publisher {
    link: Arc<Link>,
    inbox: Arc<Inbox>,
    vitals: Arc<Vitals>,
    window: Semaphore,
}

#[derive(Deserialize)]
struct PubAck {
    error: Option<api::Answer>,
    #[serde(default)]
    seq: u64,
    #[serde(default)]
    duplicate: bool,
}

/// What an attempt came to.
enum Attempt {
    Stored(Receipt),
    /// It was not stored: nobody was there to do so.
    NotNow(TransportError),
    /// It may have been stored.
    Unknown(TransportErrorKind),
    /// It will not be stored.
    Never(TransportError),
}

impl Publisher {
    pub(crate) fn new(link: Arc<Link>, inbox: Arc<Inbox>, vitals: Arc<Vitals>, window: usize) -> Self {
        Self { link, inbox, vitals, window: Semaphore::new(window.min(Semaphore::MAX_PERMITS)) }
    }

    /// Publishes until the server has stored it or the deadline comes, always under the same id.
    pub(crate) async fn publish(
        &self,
        subject: &str,
        message_id: &str,
        mut headers: HeaderMap,
        payload: Bytes,
        deadline: Instant,
    ) -> Result<Receipt, TransportError> {
        let full = || {
            TransportError::new(TransportErrorKind::Unavailable, "too many messages are not confirmed yet")
        };
        let _permit = match timeout_at(deadline, self.window.acquire()).await {
            Ok(permit) => permit.map_err(|_| full())?,
            Err(_) => return Err(full()),
        };
        if Instant::now() >= deadline {
            return Err(full()); // room came with the deadline: too late to send it
        }
        if !self.link.is_connected() {
            return Err(TransportErrorKind::Unavailable.into());
        }
        wire::insert(&mut headers, MESSAGE_ID, message_id);
        let mut unknown = None;
        loop {
            let attempt_ends = deadline.min(Instant::now() + CONFIRM_MAX);
            let error = match self.attempt(subject, headers.clone(), payload.clone(), attempt_ends).await {
                Attempt::Stored(receipt) => return Ok(receipt),
                Attempt::Never(error) => return Err(error),
                Attempt::Unknown(kind) => {
                    unknown = Some(kind);
                    kind.into()
                }
                Attempt::NotNow(error) => {
                    sleep(NO_STREAM_PAUSE.min(deadline.saturating_duration_since(Instant::now()))).await;
                    error
                }
            };
            let connected = self.link.connected_by(deadline).await;
            if !connected || Instant::now() >= deadline {
                return Err(unknown.map_or(error, TransportError::from));
            }
        }
    }

    async fn attempt(&self, subject: &str, headers: HeaderMap, payload: Bytes, deadline: Instant) -> Attempt {
        let sent = self.inbox.request(subject.to_owned(), Some(headers), payload, None, deadline).await;
        let message = match sent {
            Ok(message) => message,
            Err(error) => {
                return match error.kind() {
                    TransportErrorKind::TimedOut | TransportErrorKind::Disconnected => {
                        Attempt::Unknown(error.kind())
                    }
                    TransportErrorKind::NoHandler => {
                        self.vitals.recheck();
                        Attempt::NotNow(TransportError::new(
                            TransportErrorKind::Unavailable,
                            format!("no stream stores {subject}"),
                        ))
                    }
                    TransportErrorKind::Unavailable => Attempt::NotNow(error),
                    _ => Attempt::Never(error),
                };
            }
        };
        match serde_json::from_slice::<PubAck>(&message.payload) {
            Ok(PubAck { error: None, seq, duplicate }) => {
                Attempt::Stored(Receipt { sequence: seq, duplicate })
            }
            Ok(PubAck { error: Some(answer), .. }) => refused(&answer),
            Err(error) => Attempt::Never(TransportError::new(TransportErrorKind::Refused, error)),
        }
    }

    /// Stores a dead letter, whose id is that of the message, the handler and the node.
    pub(crate) async fn bury(
        &self,
        subject: &str,
        letter: &DeadLetter,
        deadline: Instant,
    ) -> Result<(), TransportError> {
        let (codec, payload) = letter
            .message
            .payload
            .encoded(Codec::default())
            .map_err(|error| TransportError::new(TransportErrorKind::Refused, error))?;
        let mut headers = wire::headers(&letter.message.envelope, codec);
        wire::insert(&mut headers, "Convoke-Handler", &letter.handler);
        wire::insert(&mut headers, "Convoke-Node", &letter.node);
        wire::insert(&mut headers, "Convoke-Attempts", &letter.attempts.to_string());
        wire::insert(&mut headers, "Convoke-Errors", &errors_json(&letter.errors));
        let id = format!("dead-{}-{}-{}", letter.message.envelope.id(), letter.handler, letter.node);
        self.publish(subject, &id, headers, payload, deadline).await.map(drop)
    }
}

fn refused(answer: &api::Answer) -> Attempt {
    let error = |kind| TransportError::new(kind, format!("{} ({})", answer.description, answer.err_code));
    match answer {
        api::Answer { err_code: api::MESSAGE_TOO_LARGE, .. } => {
            Attempt::Never(error(TransportErrorKind::TooLarge))
        }
        // waiting would not make room before others had waited longer: who enqueues is told
        api::Answer { err_code: api::NOT_STORED, description, .. } if description.contains("maximum") => {
            let text = format!("the stream is full ({description})");
            Attempt::Never(TransportError::new(TransportErrorKind::Unavailable, text))
        }
        api::Answer { code: 503, .. } => Attempt::NotNow(error(TransportErrorKind::Unavailable)),
        _ => Attempt::Never(error(TransportErrorKind::Refused)),
    }
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
