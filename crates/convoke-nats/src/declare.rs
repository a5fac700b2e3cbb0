//! Streams are declared by whoever starts first, and never changed.

use std::time::Duration;

use convoke_core::PARKED_MAX;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    Config, Error,
    api::{self, ApiError},
    drift,
    inbox::Inbox,
    names::{Names, Source},
};

/// What says nothing about how a stream behaves towards us, or what the server adds.
pub(crate) const IGNORED: [&str; 7] = [
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
    pub(crate) config: Value,
    pub(crate) state: State,
    #[serde(default)]
    pub(crate) cluster: Option<Cluster>,
}

/// Where a stream's copies are. Absent in what some servers answer.
#[derive(Debug, Deserialize)]
pub(crate) struct Cluster {
    #[serde(default)]
    pub(crate) leader: String,
    #[serde(default)]
    pub(crate) replicas: Vec<Replica>,
}

/// A copy that is not the leader's.
#[derive(Debug, Deserialize)]
pub(crate) struct Replica {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) current: bool,
    #[serde(default)]
    pub(crate) offline: bool,
    #[serde(default)]
    pub(crate) lag: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct State {
    pub(crate) last_seq: u64,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

impl Stream {
    /// Tells it from one that was made in its place.
    pub(crate) fn epoch(&self) -> u64 {
        let created = async_nats::datetime::parse_rfc3339(&self.created).ok();
        created.and_then(|at| u64::try_from(at.unix_timestamp_nanos()).ok()).unwrap_or_default()
    }
}

/// How long a node's claim of its id outlives its last start; one that is gone is claimed again.
const NODES_AGE: Duration = Duration::from_secs(60 * 24 * 60 * 60);
/// For how long the server recognises repeated message ids; these have none, and this is what others declare.
const NODES_WINDOW: Duration = Duration::from_secs(120);
/// Room for half a million node ids; the oldest make room.
const NODES_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Room for a hundred thousand advisories; the oldest make room.
const GIVEN_UP_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The streams a node needs.
pub(crate) fn streams(config: &Config, names: &Names) -> [Value; 8] {
    let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 2);
    let ns = &names.namespace;
    let common = |name: String, subjects: &[String], max_age: Duration, window: Duration| {
        json!({
            "name": name, "subjects": subjects, "retention": "limits", "storage": "file", "discard": "old",
            "max_age": nanos(max_age), "max_bytes": -1, "num_replicas": config.copies(),
            "duplicate_window": nanos(window),
            "max_msgs": -1, "max_msgs_per_subject": -1, "max_consumers": -1, "allow_direct": true,
        })
    };
    let Config { events, jobs, dead, .. } = config;
    let window = |max_age| events.duplicate_window.min(max_age);
    let mut stored = common(
        names.stream(Source::Events),
        &[format!("{ns}.evt.>")],
        events.max_age,
        window(events.max_age),
    );
    stored["max_bytes"] = events.stream_bytes_max.into();
    stored["max_msg_size"] = events.event_bytes_max.into();
    let work = |source, subjects: &[String]| {
        let mut work = common(names.stream(source), subjects, Duration::ZERO, jobs.duplicate_window);
        work["retention"] = "workqueue".into();
        work["max_msg_size"] = jobs.job_bytes_max.into();
        work
    };
    let mut waiting = work(Source::Jobs, &[format!("{ns}.job.>")]);
    waiting["discard"] = "new".into();
    waiting["max_msgs"] = jobs.waiting_max.into();
    waiting["max_bytes"] = jobs.stream_bytes_max.into();
    // has no limits of its own: with schedules the server would drop the oldest. We look before we store
    let mut scheduled = work(Source::Due, &[format!("{ns}.sched.*"), format!("{ns}.due.>")]);
    scheduled["allow_msg_schedules"] = true.into();
    scheduled["allow_rollup_hdrs"] = true.into();
    let mut letters =
        common(names.dead_stream(), &[format!("{ns}.dead.>")], dead.max_age, window(dead.max_age));
    letters["max_bytes"] = dead.stream_bytes_max.into();
    let mut replays = common(
        names.stream(Source::Replays),
        &[format!("{ns}.replay.>")],
        dead.max_age,
        window(dead.max_age),
    );
    replays["retention"] = "workqueue".into();
    replays["discard"] = "new".into();
    replays["max_bytes"] = dead.stream_bytes_max.into();
    let mut parked =
        common(names.parked_stream(), &[format!("{ns}.park.>")], dead.max_age, window(dead.max_age));
    parked["discard"] = "new".into();
    parked["discard_new_per_subject"] = true.into();
    parked["max_msgs_per_subject"] = PARKED_MAX.into();
    parked["max_bytes"] = dead.stream_bytes_max.into();
    parked["allow_rollup_hdrs"] = true.into();
    let told: Vec<_> = [Source::Events, Source::Jobs, Source::Due, Source::Replays]
        .into_iter()
        .flat_map(|source| names.given_up(source))
        .collect();
    let mut given_up = common(names.stream(Source::GivenUp), &told, dead.max_age, window(dead.max_age));
    given_up["retention"] = "workqueue".into();
    given_up["max_bytes"] = GIVEN_UP_BYTES_MAX.into();
    let bucket = names.nodes_bucket();
    let claims = [format!("$KV.{bucket}.>")];
    let mut nodes = common(format!("KV_{bucket}"), &claims, NODES_AGE, NODES_WINDOW);
    nodes["max_bytes"] = NODES_BYTES_MAX.into();
    nodes["max_msgs_per_subject"] = 1.into();
    nodes["allow_rollup_hdrs"] = true.into();
    nodes["deny_delete"] = true.into();
    [stored, waiting, scheduled, letters, replays, parked, given_up, nodes]
}

/// What a declaration came to.
pub(crate) struct Declared {
    /// It was not there.
    pub(crate) made: bool,
    pub(crate) stream: Stream,
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
        return Ok(Declared { made, stream });
    }
    Err(Error::refused(format!(
        "the stream {name} differs from what this node declares: {}. Correct the configuration, or change the \
         stream with `nats stream edit {name}`; nodes never do",
        differences.join("; ")
    )))
}

fn failed(name: &str, error: &ApiError) -> Error {
    let text = format!("the stream {name} cannot be declared: {error}");
    if error.err_code() == api::NOT_CLUSTERED {
        return Error::refused(format!(
            "{text}: connect to a cluster of servers, or choose the profile `fast`"
        ));
    }
    // several nodes may declare it at once, and a cluster may be choosing a leader
    if error.is_temporary() { Error::unavailable(text) } else { Error::refused(text) }
}
