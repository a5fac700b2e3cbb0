//! Answers: a first reply has no header, everything else says what it is in `Convoke-Status`.

use async_nats::{HeaderMap, Message};
use bytes::Bytes;
use convoke_core::{Answered, Codec, CodecError, Failed, Limits, Payload, WireFailure};

const STATUS: &str = "Convoke-Status";

/// An answer ready to be sent.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) headers: Option<HeaderMap>,
    pub(crate) payload: Bytes,
}

pub(crate) fn write(answered: Answered) -> Written {
    let written = match &answered {
        Answered::Replied { payload, replayed: false } => content(payload, None),
        Answered::Replied { payload, replayed: true } => content(payload, Some("replayed")),
        Answered::Rejected { payload, replayed: false } => content(payload, Some("rejected")),
        Answered::Rejected { payload, replayed: true } => content(payload, Some("rejected-replayed")),
        Answered::Failed(failed) => Ok(write_failed(failed)),
    };
    written.unwrap_or_else(|err| write_failed(&Failed::fault(err)))
}

fn content(payload: &Payload, status: Option<&'static str>) -> Result<Written, CodecError> {
    let (codec, payload) = payload.encoded(Codec::default())?;
    let mut headers = super::content_type(codec);
    if let Some(status) = status {
        headers.get_or_insert_default().insert(STATUS, status);
    }
    Ok(Written { headers, payload })
}

pub(crate) fn write_failed(failed: &Failed) -> Written {
    let mut headers = HeaderMap::new();
    headers.insert(STATUS, "failed");
    let payload =
        Codec::MessagePack.encode(&failed.to_wire()).expect("three strings and a list can be encoded");
    Written { headers: Some(headers), payload }
}

pub(crate) fn read(message: Message) -> Answered {
    let Some(headers) = &message.headers else {
        let payload = Payload::Bytes { codec: Codec::default(), bytes: message.payload };
        return Answered::Replied { payload, replayed: false };
    };
    let status = headers.get(STATUS).map(|status| status.as_str().to_owned());
    let codec = match super::read_codec(headers) {
        Ok(codec) => codec,
        Err(text) => return Answered::Failed(Failed::fault(text)),
    };
    let payload = Payload::Bytes { codec, bytes: message.payload.clone() };
    match status.as_deref() {
        None => Answered::Replied { payload, replayed: false },
        Some("replayed") => Answered::Replied { payload, replayed: true },
        Some("rejected") => Answered::Rejected { payload, replayed: false },
        Some("rejected-replayed") => Answered::Rejected { payload, replayed: true },
        Some("failed") => Answered::Failed(read_failed(&message.payload)),
        Some(other) => Answered::Failed(Failed::fault(format!(
            "an answer of an unknown kind: {:?}",
            super::shown(other)
        ))),
    }
}

fn read_failed(payload: &[u8]) -> Failed {
    match Codec::MessagePack.decode::<WireFailure>(payload, &Limits::default()) {
        Ok(wire) => Failed::from_wire(wire),
        Err(err) => Failed::fault(format!("a failure that cannot be read: {err}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn travel(answered: Answered) -> Answered {
        let written = write(answered);
        read(Message {
            subject: "s".into(),
            reply: None,
            payload: written.payload,
            headers: written.headers,
            status: None,
            description: None,
            length: 0,
        })
    }

    #[test]
    fn each_kind_of_answer_comes_back() {
        let payload = || Payload::Bytes { codec: Codec::Json, bytes: Bytes::from_static(b"1") };
        for replayed in [false, true] {
            assert!(matches!(travel(Answered::Replied { payload: payload(), replayed }),
                Answered::Replied { replayed: back, payload: Payload::Bytes { codec: Codec::Json, .. } } if back == replayed));
            assert!(matches!(travel(Answered::Rejected { payload: payload(), replayed }),
                Answered::Rejected { replayed: back, .. } if back == replayed));
        }
        assert!(matches!(travel(Answered::Failed(Failed::Overloaded)), Answered::Failed(Failed::Overloaded)));
    }

    #[test]
    fn a_first_reply_in_message_pack_has_no_header() {
        let written = write(Answered::Replied { payload: Payload::empty(), replayed: false });
        assert!(written.headers.is_none());
    }
}
