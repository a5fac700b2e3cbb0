//! A staged message as bytes, and back.
use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    Codec, Envelope, Limits, MessageKind, Outgoing, Payload, Row,
    context::{Due, Staged},
};

/// What a row holds, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RowInfo {
    /// The wire name of the message.
    pub name: String,
    /// An event, or a command that is enqueued.
    pub kind: MessageKind,
    /// The node that staged it.
    pub source: Option<String>,
    /// When the enqueued command is due.
    pub due: Option<SystemTime>,
    /// Bytes of the message itself.
    pub payload_bytes: usize,
}

/// As it is written. Fields can be added: they are written with their names.
#[derive(Serialize, Deserialize)]
struct Written {
    name: String,
    command: bool,
    lane: u8,
    /// Milliseconds since 1970.
    due: Option<u64>,
    codec: String,
    payload: Bytes,
    envelope: String,
    traceparent: Option<String>,
    headers: Vec<(String, String)>,
}

/// Different wire names that were read from rows in this process.
const NAMES_MAX: usize = 4096;
const NAME_BYTES_MAX: usize = 256;

impl Row {
    /// What the row holds. `None`: it was not written by this version, or is damaged.
    pub fn describe(&self) -> Option<RowInfo> {
        let written = self.written().ok()?;
        Some(RowInfo {
            kind: kind(written.command),
            source: Envelope::from_text(&written.envelope).ok()?.source.as_deref().map(str::to_owned),
            due: written.due.map(time),
            payload_bytes: written.payload.len(),
            name: written.name,
        })
    }

    pub(crate) fn of(staged: &Staged) -> Result<Self, String> {
        let Staged { message, due } = staged;
        let (codec, payload) = message
            .payload
            .encoded(Codec::default())
            .map_err(|error| format!("`{}`: {error}", message.name))?;
        let envelope = &message.envelope;
        let due = match due {
            Due::Published => None,
            Due::Enqueued(due) => due.map(millis),
        };
        let written = Written {
            name: message.name.to_owned(),
            command: message.kind == MessageKind::Command,
            lane: message.lane,
            due,
            codec: codec.content_type().to_owned(),
            payload,
            envelope: envelope.to_text(),
            traceparent: envelope.traceparent.as_deref().map(str::to_owned),
            headers: envelope
                .headers
                .iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        };
        let bytes = Codec::MessagePack.encode(&written).map_err(|error| error.to_string())?;
        if bytes.len() > Self::BYTES_MAX {
            return Err(format!("`{}` is larger than what an outbox takes (8 MiB)", message.name));
        }
        Ok(Self { id: envelope.id(), bytes })
    }

    /// The message and how it leaves, under the id of the row.
    pub(super) fn staged(&self) -> Result<Staged, String> {
        let written = self.written()?;
        let mut envelope = Envelope::from_text(&written.envelope).map_err(|error| error.to_string())?;
        envelope.set_id(self.id);
        envelope.traceparent = written.traceparent.map(Into::into);
        for (name, value) in &written.headers {
            envelope.headers.insert(name, value)?;
        }
        let codec = Codec::from_content_type(&written.codec).ok_or("an unknown codec")?;
        let kind = kind(written.command);
        let message = Outgoing {
            name: known(&written.name).ok_or("more different wire names than a process keeps")?,
            kind,
            lane: written.lane,
            payload: Payload::Bytes { codec, bytes: written.payload },
            envelope,
        };
        let due = match kind {
            MessageKind::Command => Due::Enqueued(written.due.map(time)),
            _ => Due::Published,
        };
        Ok(Staged { message, due })
    }

    fn written(&self) -> Result<Written, String> {
        let limits = Limits::default().payload_bytes_max(Self::BYTES_MAX);
        Codec::MessagePack.decode(&self.bytes, &limits).map_err(|error| error.to_string())
    }
}

/// A wire name for as long as the process lives. A service has few, and what they are is in its rows.
fn known(name: &str) -> Option<&'static str> {
    static NAMES: Mutex<Option<HashSet<&'static str>>> = Mutex::new(None);
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    let names = names.get_or_insert_default();
    if let Some(known) = names.get(name) {
        return Some(known);
    }
    if names.len() >= NAMES_MAX || name.len() > NAME_BYTES_MAX {
        return None;
    }
    let kept: &'static str = Box::leak(Box::from(name));
    names.insert(kept);
    Some(kept)
}

fn kind(command: bool) -> MessageKind {
    if command { MessageKind::Command } else { MessageKind::Event }
}

fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn time(millis: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_millis(millis)).unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn staged(kind: MessageKind, due: Due) -> Staged {
        let mut envelope = Envelope::with_id(Uuid::now_v7());
        envelope.causation = Some(Uuid::now_v7());
        envelope.source = Some("n1".into());
        envelope.traceparent = Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into());
        envelope.headers.insert("tenant", "t-1").expect("it fits");
        let payload = Payload::Bytes { codec: Codec::Json, bytes: Bytes::from_static(b"{\"a\":1}") };
        Staged { message: Outgoing { name: "a.b.v1", kind, lane: 17, payload, envelope }, due }
    }

    #[track_caller]
    fn check(kind: MessageKind, due: Due) {
        let before = staged(kind, due);
        let row = Row::of(&before).expect("it can be written");
        let Staged { message, due: due_after } = row.staged().expect("its own bytes");
        assert_eq!((message.name, message.kind, message.lane), ("a.b.v1", kind, 17));
        assert_eq!(message.envelope.to_text(), before.message.envelope.to_text());
        assert_eq!(message.envelope.traceparent, before.message.envelope.traceparent);
        assert_eq!(message.envelope.headers, before.message.envelope.headers);
        assert_eq!(format!("{due_after:?}"), format!("{due:?}"));
        let (codec, bytes) = message.payload.encoded(Codec::default()).expect("it is encoded");
        assert_eq!((codec, &bytes[..]), (Codec::Json, &b"{\"a\":1}"[..]));
        let info = row.describe().expect("its own bytes");
        assert_eq!((&*info.name, info.kind, info.source.as_deref()), ("a.b.v1", kind, Some("n1")));
    }

    #[test]
    fn a_message_comes_back_as_it_was_staged() {
        check(MessageKind::Event, Due::Published);
        check(MessageKind::Command, Due::Enqueued(None));
        check(
            MessageKind::Command,
            Due::Enqueued(Some(UNIX_EPOCH + Duration::from_millis(1_700_000_000_123))),
        );
    }

    #[test]
    fn what_is_no_row_of_ours_is_told() {
        let row = Row { id: Uuid::now_v7(), bytes: Bytes::from_static(b"\x01") };
        assert!(row.staged().is_err() && row.describe().is_none());
    }
}
