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

use crate::{api, inbox::Inbox, letter, link::Link, vitals::Vitals, wire};

/// How long the server may take to confirm before the event is sent again under its id.
const CONFIRM_MAX: Duration = Duration::from_secs(2);
/// Pause after an answer that no stream is there to store it.
const NO_STREAM_PAUSE: Duration = Duration::from_millis(250);

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

    /// Stores a dead letter, whose id is that of the failure it tells of.
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
        let headers = letter::headers(letter, codec);
        let id = format!("dead-{}", letter.identity());
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
