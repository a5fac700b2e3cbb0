//! A request and its answer as bytes, for [`Forwarder`](crate::Forwarder)s that send them over a wire of their own.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{
    Answered, Codec, CodecError, Envelope, Failed, Headers, Incoming, Limits, Outgoing, Payload,
    TransportError, TransportErrorKind, WireFailure,
};

/// The version of this form. One that is not known is refused.
const VERSION: u8 = 1;
/// What a frame may have in addition to its payload: envelope, trace context and headers.
const OVERHEAD_BYTES_MAX: usize = 16 * 1024;
/// Values in a frame beside its payload and headers, and for each header.
const OVERHEAD_ITEMS_MAX: usize = 64 + 4 * Headers::COUNT_MAX;
/// The longest trace context that is read. W3C's has 55 bytes.
const TRACEPARENT_BYTES_MAX: usize = 128;

#[derive(Serialize, Deserialize)]
struct Request {
    version: u8,
    name: String,
    envelope: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    headers: Vec<(String, String)>,
    content: Content,
}

#[derive(Serialize, Deserialize)]
struct Content {
    content_type: String,
    bytes: Bytes,
}

#[derive(Serialize, Deserialize)]
struct Answer {
    version: u8,
    ended: Ended,
}

#[derive(Serialize, Deserialize)]
enum Ended {
    Replied(Content, bool),
    Rejected(Content, bool),
    Failed(WireFailure),
}

impl Content {
    fn of(payload: &Payload) -> Result<Self, CodecError> {
        let (codec, bytes) = payload.encoded(Codec::default())?;
        Ok(Self { content_type: codec.content_type().to_owned(), bytes })
    }

    fn payload(self) -> Option<Payload> {
        let codec = Codec::from_content_type(&self.content_type)?;
        Some(Payload::Bytes { codec, bytes: self.bytes })
    }
}

/// A request as bytes, with its envelope.
///
/// # Errors
/// `Refused` when its content cannot be encoded.
pub fn request(message: &Outgoing) -> Result<Bytes, TransportError> {
    let refused = |error| TransportError::new(TransportErrorKind::Refused, error);
    let envelope = &message.envelope;
    let headers = envelope.headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    let request = Request {
        version: VERSION,
        name: message.name.to_owned(),
        envelope: envelope.to_text(),
        traceparent: envelope.traceparent.as_deref().map(str::to_owned),
        headers: headers.collect(),
        content: Content::of(&message.payload).map_err(refused)?,
    };
    Codec::MessagePack.encode(&request).map_err(refused)
}

/// Reads a request that arrived just now.
///
/// # Errors
/// `Undecodable` for what is not one, or is larger than the limits.
pub fn read_request(bytes: &[u8], limits: &Limits) -> Result<Incoming, Failed> {
    let undecodable = |text: String| Failed::Undecodable(format!("not a forwarded request: {text}"));
    let received = Instant::now();
    let read: Request =
        Codec::MessagePack.decode(bytes, &around(limits)).map_err(|error| undecodable(error.to_string()))?;
    if read.version != VERSION {
        return Err(undecodable(format!(
            "its form has the version {}, and this node knows {VERSION}",
            read.version
        )));
    }
    let mut envelope = Envelope::from_text(&read.envelope).map_err(|error| undecodable(error.to_string()))?;
    envelope.traceparent =
        read.traceparent.filter(|text| text.len() <= TRACEPARENT_BYTES_MAX).map(String::into_boxed_str);
    for (name, value) in &read.headers {
        envelope.headers.insert(name, value).map_err(|problem| undecodable(problem.to_owned()))?;
    }
    let payload = read.content.payload().ok_or_else(|| undecodable("an unknown content type".to_owned()))?;
    Ok(Incoming { name: read.name.into(), payload, envelope, received, position: None })
}

/// An answer as bytes. One that cannot be encoded is a fault: its handler ran.
pub fn answer(answered: Answered) -> Bytes {
    let ended = match answered {
        Answered::Replied { payload, replayed } => {
            Content::of(&payload).map(|it| Ended::Replied(it, replayed))
        }
        Answered::Rejected { payload, replayed } => {
            Content::of(&payload).map(|it| Ended::Rejected(it, replayed))
        }
        Answered::Failed(failed) => Ok(Ended::Failed(failed.to_wire())),
    };
    let ended = ended.unwrap_or_else(|error| Ended::Failed(Failed::fault(error).to_wire()));
    let answer = Answer { version: VERSION, ended };
    Codec::MessagePack.encode(&answer).expect("texts and bytes can always be written as MessagePack")
}

/// Reads an answer.
///
/// # Errors
/// `Disconnected` for what is not one: the request may have been carried out.
pub fn read_answer(bytes: &[u8], limits: &Limits) -> Result<Answered, TransportError> {
    let broken = |error: crate::BoxError| TransportError::new(TransportErrorKind::Disconnected, error);
    let read: Answer =
        Codec::MessagePack.decode(bytes, &around(limits)).map_err(|error| broken(error.into()))?;
    if read.version != VERSION {
        return Err(broken(format!("an answer of version {}", read.version).into()));
    }
    let payload =
        |content: Content| content.payload().ok_or_else(|| broken("an unknown content type".into()));
    Ok(match read.ended {
        Ended::Replied(content, replayed) => Answered::Replied { payload: payload(content)?, replayed },
        Ended::Rejected(content, replayed) => Answered::Rejected { payload: payload(content)?, replayed },
        Ended::Failed(wire) => Answered::Failed(Failed::from_wire(wire)),
    })
}

/// The most bytes a frame has whose payload is within the limits.
pub const fn bytes_max(limits: &Limits) -> usize {
    limits.payload_bytes_max.saturating_add(OVERHEAD_BYTES_MAX)
}

/// What is inside is checked again, by the limits themselves, when it is decoded.
fn around(limits: &Limits) -> Limits {
    Limits { payload_bytes_max: bytes_max(limits), depth_max: 8, items_max: OVERHEAD_ITEMS_MAX }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;
    use crate::{Expiry, LANE_UNKEYED, MessageKind};

    fn content(bytes: &'static [u8]) -> Payload {
        Payload::Bytes { codec: Codec::Json, bytes: Bytes::from_static(bytes) }
    }

    fn sent() -> Outgoing {
        let mut envelope = Envelope::with_id(Uuid::now_v7());
        envelope.expiry = Some(Expiry::after(Duration::from_secs(3)));
        envelope.idempotency_key = Some("order-17".into());
        envelope.source = Some("n1".into());
        envelope.correlation = Some(Uuid::now_v7());
        envelope.traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into());
        envelope.headers.insert("tenant", "acme").expect("a header");
        let (kind, lane) = (MessageKind::Command, LANE_UNKEYED);
        Outgoing { name: "orders.ship.v1", kind, lane, payload: content(b"{\"id\":1}"), envelope }
    }

    #[test]
    fn a_request_comes_back_with_its_whole_envelope() {
        let sent = sent();
        let back = read_request(&request(&sent).expect("it can be written"), &Limits::default())
            .expect("its own frame");
        assert_eq!(&*back.name, sent.name);
        assert_eq!(back.envelope.to_text(), sent.envelope.to_text());
        assert_eq!(back.envelope.traceparent, sent.envelope.traceparent);
        assert_eq!(back.envelope.headers, sent.envelope.headers);
        let encoded = |payload: &Payload| payload.encoded(Codec::default()).expect("bytes");
        assert_eq!(encoded(&back.payload), encoded(&sent.payload));
    }

    #[test]
    fn a_request_has_as_many_headers_as_a_message_may_have_and_a_payload_of_the_limit() {
        let mut sent = sent();
        for n in 1..Headers::COUNT_MAX {
            sent.envelope.headers.insert(&format!("h{n}"), &"v".repeat(200)).expect("within the limit");
        }
        let limits = Limits::default().payload_bytes_max(100_000);
        let blob = |bytes| Payload::Bytes { codec: Codec::MessagePack, bytes: Bytes::from(vec![1; bytes]) };
        sent.payload = blob(100_000);
        read_request(&request(&sent).expect("written"), &limits).expect("within the limits");
        sent.payload = blob(120_000);
        let refused = read_request(&request(&sent).expect("written"), &limits).expect_err("beyond them");
        assert!(refused.to_string().contains("not a forwarded request"), "{refused}");
    }

    #[test]
    fn each_answer_comes_back() {
        let limits = Limits::default();
        let back = |answered| read_answer(&answer(answered), &limits).expect("its own frame");
        let Answered::Replied { payload, replayed: true } =
            back(Answered::Replied { payload: content(b"17"), replayed: true })
        else {
            panic!("not a replayed reply")
        };
        assert_eq!(
            payload.encoded(Codec::default()).expect("bytes"),
            (Codec::Json, Bytes::from_static(b"17"))
        );
        let rejected = Answered::Rejected { payload: content(b"17"), replayed: false };
        assert!(matches!(back(rejected), Answered::Rejected { replayed: false, .. }));
        let failed = back(Answered::Failed(Failed::NotLeader { leader: Some("n2".to_owned()) }));
        assert!(
            matches!(failed, Answered::Failed(Failed::NotLeader { leader: Some(leader) }) if leader == "n2")
        );
    }

    #[test]
    fn what_is_not_a_frame_is_refused() {
        for bytes in [&b""[..], b"\xc0", b"{}", &[0x81; 64]] {
            assert!(matches!(read_request(bytes, &Limits::default()), Err(Failed::Undecodable(_))));
            let kind = read_answer(bytes, &Limits::default()).map_err(|error| error.kind());
            assert!(matches!(kind, Err(TransportErrorKind::Disconnected)));
        }
    }
}
