//! What waits behind a dead letter of its key, in a stream of its own.

use std::{fmt, sync::Arc, time::SystemTime};

use async_nats::{Message, jetstream::message::StreamMessage, jetstream::stream::RawMessage};
use bytes::Bytes;
use convoke_core::{BoxFuture, Codec, DeadLetter, Parked, Place, TransportError, TransportErrorKind};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use crate::{
    api::{self, ApiError},
    inbox::Inbox,
    letter,
    names::Names,
    publishing::{Full, Publisher},
};

const ROLLUP: &str = "Nats-Rollup";

/// What the nodes of a service have parked.
pub(crate) struct Parking {
    pub(crate) names: Names,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) publisher: Arc<Publisher>,
}

#[derive(Deserialize)]
struct Got {
    message: RawMessage,
}

impl Parking {
    async fn look(&self, place: &Place, by: Instant) -> Result<Parked, TransportError> {
        let head = self.get(json!({ "last_by_subj": self.names.park_head(place) }), by).await?;
        if let Some((_, head)) = head {
            let id = std::str::from_utf8(&head.payload).ok().and_then(|text| Uuid::try_parse(text).ok());
            // who cannot read it is behind it all the same
            return Ok(Parked { head: Some(id.unwrap_or_default()), first: None });
        }
        let first = self.get(json!({ "seq": 1, "next_by_subj": self.names.park_wait(place) }), by).await?;
        let first = first.map(|(number, message)| {
            let letter =
                letter::read(&self.names.service, &place.name, number, SystemTime::UNIX_EPOCH, &message);
            (number, letter.letter)
        });
        Ok(Parked { head: None, first })
    }

    /// Not a direct get: one that is behind would let a message overtake those that are parked.
    async fn get(&self, body: Value, by: Instant) -> Result<Option<(u64, Message)>, TransportError> {
        let verb = format!("STREAM.MSG.GET.{}", self.names.parked_stream());
        let got = timeout_at(by, self.inbox.api::<Got>(&verb, &body)).await;
        let refused = |error| TransportError::new(TransportErrorKind::Refused, error);
        match got.map_err(|_| TransportErrorKind::TimedOut)? {
            Ok(Got { message }) => {
                let number = message.sequence;
                let StreamMessage { subject, headers, payload, .. } =
                    message.try_into().map_err(|error: async_nats::Error| refused(error))?;
                let headers = Some(headers);
                Ok(Some((
                    number,
                    Message {
                        subject,
                        headers,
                        payload,
                        reply: None,
                        status: None,
                        description: None,
                        length: 0,
                    },
                )))
            }
            Err(error) if api::NO_SUCH_MESSAGE.contains(&error.err_code()) => Ok(None),
            Err(ApiError::Transport(error)) => Err(error),
            Err(answer) => Err(TransportError::new(TransportErrorKind::Unavailable, answer.to_string())),
        }
    }

    async fn hold(&self, place: &Place, head: Option<Uuid>, by: Instant) -> Result<(), TransportError> {
        let subject = self.names.park_head(place);
        let Some(head) = head else {
            let verb = format!("STREAM.PURGE.{}", self.names.parked_stream());
            return self.change(&verb, json!({ "filter": subject }), by).await;
        };
        let mut headers = async_nats::HeaderMap::new();
        headers.insert(ROLLUP, "sub");
        // an id of its own each time: what was held and let go may be held again
        let id = Uuid::now_v7().to_string();
        let text = Bytes::from(head.to_string());
        self.publisher.publish(&subject, &id, headers, text, by).await.map(drop)
    }

    async fn park(&self, place: &Place, letter: DeadLetter, by: Instant) -> Result<bool, TransportError> {
        let (codec, payload) = letter
            .message
            .payload
            .encoded(Codec::default())
            .map_err(|error| TransportError::new(TransportErrorKind::Refused, error))?;
        let id = format!("park-{}-{}", self.names.service, letter.identity());
        let (subject, headers) = (self.names.park_wait(place), letter::headers(&letter, codec));
        match self.publisher.publish(&subject, &id, headers, payload, by).await {
            Ok(_) => Ok(true),
            Err(error) if Full::is_why(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn change(&self, verb: &str, body: Value, by: Instant) -> Result<(), TransportError> {
        match timeout_at(by, self.inbox.api::<Value>(verb, &body)).await {
            Err(_) => Err(TransportErrorKind::TimedOut.into()),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) if api::NO_SUCH_MESSAGE.contains(&error.err_code()) => Ok(()),
            Ok(Err(ApiError::Transport(error))) => Err(error),
            Ok(Err(answer)) => Err(TransportError::new(TransportErrorKind::Unavailable, answer.to_string())),
        }
    }
}

impl convoke_core::Parking for Parking {
    fn look<'a>(&'a self, place: &'a Place, by: Instant) -> BoxFuture<'a, Result<Parked, TransportError>> {
        Box::pin(self.look(place, by))
    }
    fn hold<'a>(
        &'a self,
        place: &'a Place,
        head: Option<Uuid>,
        by: Instant,
    ) -> BoxFuture<'a, Result<(), TransportError>> {
        Box::pin(self.hold(place, head, by))
    }
    fn park<'a>(
        &'a self,
        place: &'a Place,
        letter: DeadLetter,
        by: Instant,
    ) -> BoxFuture<'a, Result<bool, TransportError>> {
        Box::pin(self.park(place, letter, by))
    }
    fn unpark<'a>(
        &'a self,
        _: &'a Place,
        number: u64,
        by: Instant,
    ) -> BoxFuture<'a, Result<(), TransportError>> {
        Box::pin(async move {
            let verb = format!("STREAM.MSG.DELETE.{}", self.names.parked_stream());
            self.change(&verb, json!({ "seq": number, "no_erase": true }), by).await
        })
    }
}

impl fmt::Debug for Parking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parking").field("names", &self.names).finish_non_exhaustive()
    }
}
