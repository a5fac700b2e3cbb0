//! The net below the handlers: what the server gave up becomes a dead letter.
//!
//! A message that ends every node that takes it leaves nobody to write its letter. The server stops handing it over
//! after so many deliveries and says so in an advisory, which a stream keeps until one node has written the letter.

use std::sync::Arc;

use async_nats::{
    Message,
    jetstream::{message::StreamMessage, stream::RawMessage},
};
use convoke_core::{
    Audience, BoxFuture, Codec, Consume, DeadLetter, Envelope, Incoming, Payload, Position, Settled,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    api::{self, ApiError},
    declare::Stream,
    inbox::Inbox,
    letter,
    names::{Names, Source},
    publishing::Publisher,
    wire,
};

/// How long a dead letter may take.
const BURY_MAX: std::time::Duration = std::time::Duration::from_secs(10);

/// Writes the letters of what the server gave up. Any node does it for all services.
pub(crate) struct Net {
    pub(crate) names: Names,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) publisher: Arc<Publisher>,
}

/// What the server says when it gives up.
#[derive(Debug, Deserialize)]
struct Advisory {
    stream: String,
    consumer: String,
    stream_seq: u64,
    #[serde(default)]
    deliveries: u32,
    /// Somebody told it to.
    reason: Option<String>,
}

#[derive(Deserialize)]
struct Got {
    message: RawMessage,
}

/// Whose message it was, by the name of its consumer.
#[derive(Debug, PartialEq, Eq)]
struct Owner<'a> {
    service: &'a str,
    audience: Audience,
    node: &'a str,
}

impl Net {
    async fn settle(&self, incoming: &Incoming) -> Result<(), ApiError> {
        let Ok((_, bytes)) = incoming.payload.encoded(Codec::default()) else { return Ok(()) };
        let Ok(advisory) = serde_json::from_slice::<Advisory>(&bytes) else {
            tracing::error!(subject = &*incoming.name, "an advisory that cannot be read was dropped");
            return Ok(());
        };
        let sources = [Source::Events, Source::Jobs, Source::Due, Source::Replays];
        let source = sources.into_iter().find(|source| self.names.stream(*source) == advisory.stream);
        let Some((source, owner)) = source.zip(owner(&advisory.consumer, source)) else { return Ok(()) };
        let Some(letter) = self.letter(&advisory, source, &owner).await? else {
            return Ok(()); // settled late, buried before, or too old to be kept
        };
        tracing::error!(
            stream = advisory.stream,
            consumer = advisory.consumer,
            sequence = advisory.stream_seq,
            deliveries = advisory.deliveries,
            "a message that no node settled becomes a dead letter"
        );
        let subject = self.names.dead_of(owner.service, &letter.message.name);
        let by = Instant::now() + BURY_MAX;
        self.publisher.bury(&subject, &letter, by).await.map_err(ApiError::Transport)?;
        self.remove(&advisory, source).await
    }

    /// `None`: the message is gone.
    async fn letter(
        &self,
        advisory: &Advisory,
        source: Source,
        owner: &Owner<'_>,
    ) -> Result<Option<DeadLetter>, ApiError> {
        let Advisory { stream, stream_seq: sequence, .. } = advisory;
        let got = self.inbox.api::<Got>(&format!("STREAM.MSG.GET.{stream}"), &json!({"seq": sequence})).await;
        let raw = match got {
            Ok(got) => got.message,
            Err(error) if api::NO_SUCH_MESSAGE.contains(&error.err_code()) => return Ok(None),
            Err(error) => return Err(error),
        };
        let info = self.inbox.api::<Stream>(&format!("STREAM.INFO.{stream}"), &Value::Null).await?;
        let position = Position { epoch: info.epoch(), sequence: *sequence };
        Ok(StreamMessage::try_from(raw)
            .ok()
            .and_then(|raw| self.letter_of(raw, advisory, position, source, owner)))
    }

    fn letter_of(
        &self,
        raw: StreamMessage,
        advisory: &Advisory,
        position: Position,
        source: Source,
        owner: &Owner<'_>,
    ) -> Option<DeadLetter> {
        let StreamMessage { subject, headers, payload, .. } = raw;
        let name = Arc::from(self.names.stored_name(&subject)?);
        let replay = (source == Source::Replays)
            .then(|| letter::read_replay(Some(&headers), std::time::Duration::ZERO));
        let message = Message {
            subject,
            reply: None,
            payload: payload.clone(),
            headers: Some(headers),
            status: None,
            description: None,
            length: 0,
        };
        let id = Uuid::from_u64_pair(position.epoch, position.sequence);
        let (mut envelope, codec, stranger) = wire::read(&message).map_or_else(
            |_| (Envelope::default(), Codec::default(), true),
            |r| (r.envelope, r.codec, r.stranger),
        );
        if stranger {
            envelope.set_id(id); // as it had when it was handed over
        }
        let (handler, replays, holds, position) = match replay {
            Some((replay, first)) => (replay.handler, replay.number, replay.holds, first),
            None => (String::new(), 0, false, Some(position)),
        };
        let received = Instant::now();
        Some(DeadLetter {
            message: Incoming {
                name,
                payload: Payload::Bytes { codec, bytes: payload },
                envelope,
                received,
                position,
            },
            handler,
            node: owner.node.to_owned(),
            audience: owner.audience.clone(),
            errors: vec![advisory.error()],
            attempts: advisory.deliveries,
            replays,
            holds,
        })
    }

    /// A work queue keeps what it gave up for ever.
    async fn remove(&self, advisory: &Advisory, source: Source) -> Result<(), ApiError> {
        if source == Source::Events {
            return Ok(()); // others read it
        }
        let verb = format!("STREAM.MSG.DELETE.{}", advisory.stream);
        let body = json!({"seq": advisory.stream_seq, "no_erase": true});
        match self.inbox.api::<Value>(&verb, &body).await {
            Err(error) if !api::NO_SUCH_MESSAGE.contains(&error.err_code()) => Err(error),
            _ => Ok(()),
        }
    }
}

impl Advisory {
    fn error(&self) -> String {
        let Self { deliveries, reason, .. } = self;
        match reason {
            Some(reason) => format!("it was terminated after {deliveries} deliveries: {reason}"),
            None => format!(
                "it was delivered {deliveries} times and never settled: each node that took it ended, hung or \
                 handed it back"
            ),
        }
    }
}

/// A service's name has no `__`, so the first one ends it.
fn owner(consumer: &str, source: Option<Source>) -> Option<Owner<'_>> {
    let (service, rest) = consumer.split_once("__")?;
    let group = rest.strip_prefix("group__").map(|group| {
        let group = group.split_once('=').map_or(group, |(group, _span)| group);
        Audience::Group(group.to_owned())
    });
    let (audience, node) = match (source?, group) {
        (Source::Jobs | Source::Due, _) => (Audience::Jobs, ""),
        (_, Some(group)) => (group, ""),
        (Source::Replays, None) => match rest.strip_prefix("node__") {
            Some(node) => (Audience::Node, node),
            None => (Audience::Jobs, ""),
        },
        (_, None) => (Audience::Node, rest),
    };
    Some(Owner { service, audience, node })
}

impl Consume for Net {
    fn consume(&self, incoming: Incoming) -> BoxFuture<'static, Settled> {
        let Self { names, inbox, publisher } = self;
        let net = Self { names: names.clone(), inbox: Arc::clone(inbox), publisher: Arc::clone(publisher) };
        Box::pin(async move {
            match net.settle(&incoming).await {
                Ok(()) => Settled::Done,
                Err(error) => {
                    tracing::warn!(%error, "a letter of what the server gave up could not be written yet");
                    Settled::HandBack
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(consumer: &str, source: Source, service: &str, audience: Audience, node: &str) {
        assert_eq!(owner(consumer, Some(source)), Some(Owner { service, audience, node }));
    }

    #[test]
    fn a_consumer_says_whose_its_messages_are() {
        let billing = || Audience::Group("billing".to_owned());
        check("orders__n-1", Source::Events, "orders", Audience::Node, "n-1");
        check("orders__jobs", Source::Events, "orders", Audience::Node, "jobs");
        check("orders__group__billing", Source::Events, "orders", billing(), "");
        check("orders__group__billing=3=17", Source::Events, "orders", billing(), "");
        check("orders__jobs", Source::Jobs, "orders", Audience::Jobs, "");
        check("orders__jobs", Source::Due, "orders", Audience::Jobs, "");
        check("orders__node__jobs", Source::Replays, "orders", Audience::Node, "jobs");
        check("orders__jobs", Source::Replays, "orders", Audience::Jobs, "");
        check("orders__group__billing", Source::Replays, "orders", billing(), "");
        assert_eq!(owner("somebody-elses", Some(Source::Events)), None);
    }
}
