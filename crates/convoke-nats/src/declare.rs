//! Streams are declared by whoever starts first, and never changed.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    Config, Error,
    api::{self, ApiError},
    drift,
    inbox::Inbox,
    names::Names,
};

/// What says nothing about how a stream behaves towards us, or what the server adds.
const IGNORED: [&str; 7] = [
    "metadata",
    "description",
    "placement",
    "allow_direct",
    "mirror_direct",
    "compression",
    "consumer_limits",
];

/// A stream as the server knows it.
#[derive(Debug, Deserialize)]
pub(crate) struct Stream {
    created: String,
    config: Value,
    pub(crate) state: State,
}

#[derive(Debug, Deserialize)]
pub(crate) struct State {
    pub(crate) last_seq: u64,
}

impl Stream {
    /// Tells it from one that was made in its place.
    pub(crate) fn epoch(&self) -> u64 {
        let created = async_nats::datetime::parse_rfc3339(&self.created).ok();
        created.and_then(|at| u64::try_from(at.unix_timestamp_nanos()).ok()).unwrap_or_default()
    }
}

/// The streams a node needs, the one of events first.
pub(crate) fn streams(config: &Config, names: &Names) -> [Value; 2] {
    let nanos = |duration: std::time::Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 2);
    let ns = &names.namespace;
    let common = |name: String, subject: String, max_age, max_bytes: u64| {
        json!({
            "name": name, "subjects": [subject], "retention": "limits", "storage": "file", "discard": "old",
            "max_age": nanos(max_age), "max_bytes": max_bytes, "num_replicas": config.replicas,
            "duplicate_window": nanos(config.events.duplicate_window.min(max_age)),
            "max_msgs": -1, "max_msgs_per_subject": -1, "max_consumers": -1, "allow_direct": true,
        })
    };
    let (events, dead) = (&config.events, &config.dead);
    let mut stored =
        common(names.events_stream(), format!("{ns}.evt.>"), events.max_age, events.stream_bytes_max);
    stored["max_msg_size"] = events.event_bytes_max.into();
    let letters = common(names.dead_stream(), format!("{ns}.dead.>"), dead.max_age, dead.stream_bytes_max);
    [stored, letters]
}

/// What a declaration came to.
pub(crate) struct Declared {
    pub(crate) stream: Stream,
    /// It was not there.
    pub(crate) made: bool,
}

pub(crate) async fn declare(inbox: &Inbox, wanted: &Value) -> Result<Declared, Error> {
    let name = wanted["name"].as_str().unwrap_or_default();
    let found = inbox.api::<Stream>(&format!("STREAM.INFO.{name}"), &Value::Null).await;
    let (stream, made) = match found {
        Ok(stream) => (stream, false),
        Err(error) if error.err_code() == api::STREAM_NOT_FOUND => {
            let made = inbox.api::<Stream>(&format!("STREAM.CREATE.{name}"), wanted).await;
            (made.map_err(|error| failed(name, &error))?, true)
        }
        Err(error) => return Err(failed(name, &error)),
    };
    let differences = drift::differences(wanted, &stream.config, &IGNORED);
    if differences.is_empty() {
        return Ok(Declared { stream, made });
    }
    Err(Error::refused(format!(
        "the stream {name} differs from what this node declares: {}. Correct the configuration, or change the \
         stream with `nats stream edit {name}`; nodes never do",
        differences.join("; ")
    )))
}

fn failed(name: &str, error: &ApiError) -> Error {
    let text = format!("the stream {name} cannot be declared: {error}");
    // several nodes may declare it at once, and a cluster may be choosing a leader
    if error.is_temporary() { Error::unavailable(text) } else { Error::refused(text) }
}
