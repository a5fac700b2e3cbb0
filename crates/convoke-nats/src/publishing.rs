//! Events, enqueued commands and dead letters go out.

use std::{sync::Arc, time::Duration};

use async_nats::{HeaderMap, Subject};
use bytes::Bytes;
use convoke_core::{Codec, DeadLetter, Receipt, TransportError, TransportErrorKind};
use serde::Deserialize;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep, timeout_at},
};

use crate::{api, inbox::Inbox, letter, link::Link, troubles::Trouble, vitals::Vitals, wire};

/// How long the server may take to confirm before the event is sent again under its id.
const CONFIRM_MAX: Duration = Duration::from_secs(2);
/// Pause after an answer that no stream is there to store it.
const NO_STREAM_PAUSE: Duration = Duration::from_millis(250);

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

/// The stream has no room for more.
#[derive(Debug, thiserror::Error)]
#[error("the stream is full ({0})")]
pub(crate) struct Full(String);

impl Full {
    /// Whether the stream's own limits are the reason, and not those of the server.
    pub(crate) fn is_why(error: &TransportError) -> bool {
        let full = std::error::Error::source(error).and_then(|source| source.downcast_ref::<Self>());
        full.is_some_and(|full| full.0.contains("maximum"))
    }
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
        wire::insert(&mut headers, wire::MESSAGE_ID, message_id);
        self.publish_with(subject.into(), || headers.clone(), payload, deadline).await
    }

    /// The same with headers that have the id in them. They are made for each attempt: there is seldom a second one,
    /// and a copy costs as much.
    pub(crate) async fn publish_with(
        &self,
        subject: Subject,
        headers: impl Fn() -> HeaderMap + Send,
        payload: Bytes,
        deadline: Instant,
    ) -> Result<Receipt, TransportError> {
        let full = || {
            TransportError::new(TransportErrorKind::Unavailable, "too many messages are not confirmed yet")
        };
        let _permit = match self.window.try_acquire() {
            Ok(permit) => permit, // mostly, and without a timer
            Err(_) => match timeout_at(deadline, self.window.acquire()).await {
                Ok(permit) => permit.map_err(|_| full())?,
                Err(_) => return Err(full()),
            },
        };
        if Instant::now() >= deadline {
            return Err(full()); // room came with the deadline: too late to send it
        }
        if !self.link.is_connected() {
            return Err(TransportErrorKind::Unavailable.into());
        }
        let mut unknown = None;
        loop {
            let attempt_ends = deadline.min(Instant::now() + CONFIRM_MAX);
            let error = match self.attempt(&subject, headers(), payload.clone(), attempt_ends).await {
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

    async fn attempt(
        &self,
        subject: &Subject,
        headers: HeaderMap,
        payload: Bytes,
        deadline: Instant,
    ) -> Attempt {
        let sent = self.inbox.request(subject.clone(), Some(headers), payload, None, deadline).await;
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
            Ok(PubAck { error: Some(answer), .. }) => self.refused(subject, &answer),
            Err(error) => Attempt::Never(TransportError::new(TransportErrorKind::Refused, error)),
        }
    }

    fn refused(&self, subject: &str, answer: &api::Answer) -> Attempt {
        if is_full(answer) {
            self.link.troubles().tell(
                Trouble::NoRoom,
                format!(
                    "there was no room for {subject}: {} ({}). Handle or remove what is there, or raise the limit",
                    answer.description, answer.err_code
                ),
            );
        }
        refused(answer)
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
        let id = format!("{subject}-{}", letter.identity()); // the subject names the service
        self.publish(subject, &id, headers, payload, deadline).await.map(drop)
    }
}

/// What the server says when a limit of a stream, an account or itself is reached.
fn is_full(answer: &api::Answer) -> bool {
    api::NO_ROOM.contains(&answer.err_code)
        || (answer.err_code == api::NOT_STORED
            && ["maximum", "resource", "no space", "limit"]
                .iter()
                .any(|sign| answer.description.contains(sign)))
}

fn refused(answer: &api::Answer) -> Attempt {
    let error = |kind| TransportError::new(kind, format!("{} ({})", answer.description, answer.err_code));
    match answer {
        api::Answer { err_code: api::MESSAGE_TOO_LARGE, .. } => {
            Attempt::Never(error(TransportErrorKind::TooLarge))
        }
        // waiting would not make room before others had waited longer: who publishes or enqueues is told
        full if is_full(full) => {
            let why = Full(format!("{}, {}", answer.description, answer.err_code));
            Attempt::Never(TransportError::new(TransportErrorKind::Unavailable, why))
        }
        api::Answer { code: 429 | 503, .. } => Attempt::NotNow(error(TransportErrorKind::Unavailable)),
        _ => Attempt::Never(error(TransportErrorKind::Refused)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_reached_says_so_and_nothing_was_stored() {
        let full = [
            (10077, 400, "maximum messages exceeded"),
            (10077, 503, "insufficient resources"),
            (10077, 503, "write msgs: no space left on device"),
            (10047, 500, "insufficient storage resources available"),
            (10028, 500, "insufficient memory resources available"),
            (10023, 503, "insufficient resources"),
            (10002, 400, "resource limits exceeded for account"),
        ];
        for (err_code, code, description) in full {
            let answer = api::Answer { err_code, code, description: description.to_owned() };
            let Attempt::Never(error) = refused(&answer) else { panic!("{description} is tried again") };
            assert_eq!(error.kind(), TransportErrorKind::Unavailable, "{error}");
            let text = error.to_string();
            assert!(
                text.contains("full") && text.contains(description) && text.contains(&err_code.to_string()),
                "{text}"
            );
        }
        for (err_code, code) in [(10167, 429), (10077, 503), (10008, 503)] {
            let busy = api::Answer { err_code, code, description: "not now".to_owned() };
            assert!(matches!(refused(&busy), Attempt::NotNow(_)), "{err_code} passes");
        }
    }
}
