//! Makes sure that the server has the consumer, under its fixed name.

use convoke_core::Audience;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{CEILING, COMPARED_BY_NODES_ALONE, Consumer, Cursor, declaration};
use crate::{
    Error,
    api::{self, ApiError},
    declare::Stream,
    drift,
    names::{ADVISORY, Lanes, Source},
};

#[derive(Debug, Deserialize)]
struct Info {
    config: Value,
    #[serde(default)]
    num_pending: u64,
    #[serde(default)]
    num_ack_pending: u64,
}

impl Consumer {
    /// Attaches to the stream; the subject that its messages will come to, and its creation time.
    pub(super) async fn attach(&self, cursor: &mut Cursor) -> Result<(String, u64), Error> {
        let stream = self.names.stream(self.source);
        let state = self.stream_state(&stream, cursor).await?;
        let epoch = state.epoch();
        if self.lanes == Lanes::Unkeyed && cursor.epoch.is_none() {
            self.divide(&stream).await?;
        }
        if self.spec.audience == Audience::View {
            self.remove(&stream, &self.name).await?;
        }
        let info = match self
            .inbox
            .api::<Info>(&format!("CONSUMER.INFO.{stream}.{}", self.name), &Value::Null)
            .await
        {
            Ok(info) => self.compare(&stream, info, cursor).await?,
            Err(error) if error.err_code() == api::CONSUMER_NOT_FOUND => self.create(&stream, cursor).await?,
            Err(error) => return Err(self.failed(&error)),
        };
        cursor.epoch = Some(epoch);
        cursor.caught_up.attached(info.num_pending + info.num_ack_pending, state.state.last_seq);
        Ok((self.link.client().new_inbox(), epoch))
    }

    /// Looks at the stream, and forgets what is known of another one in its place.
    pub(super) async fn stream_state(&self, stream: &str, cursor: &mut Cursor) -> Result<Stream, Error> {
        let asked = self.inbox.api::<Stream>(&format!("STREAM.INFO.{stream}"), &Value::Null).await;
        let state = asked.map_err(|error| self.failed(&error))?;
        if cursor.epoch.is_some_and(|known| known != state.epoch()) {
            tracing::warn!(
                consumer = self.name,
                stream,
                "the stream is another one: it is read from its start"
            );
            cursor.last_seen = Some(0);
            // sequences start again: an acknowledgement for the old stream must not count for the new one
            std::mem::take(&mut cursor.flight).forget();
        }
        Ok(state)
    }

    /// What the server keeps for a view is of no use after a break: it forgets what it sent into the dead link.
    pub(super) async fn remove(&self, stream: &str, name: &str) -> Result<(), Error> {
        let deleted =
            self.inbox.api::<Value>(&format!("CONSUMER.DELETE.{stream}.{name}"), &Value::Null).await;
        match deleted {
            Ok(_) => Ok(()),
            Err(error) if error.err_code() == api::CONSUMER_NOT_FOUND => Ok(()),
            Err(error) => Err(self.failed(&error)),
        }
    }

    async fn create(&self, stream: &str, cursor: &Cursor) -> Result<Info, Error> {
        let mut config = self.config();
        match cursor.last_seen {
            // what is in a stream of jobs is to be done, wherever we stopped
            Some(last) if self.source == Source::Events => {
                config["deliver_policy"] = "by_start_sequence".into();
                config["opt_start_seq"] = (last + 1).into();
            }
            _ => config["deliver_policy"] = self.first_start().into(),
        }
        self.write(stream, config, "create").await
    }

    /// Where a consumer starts that never was: a node with what comes, others with all there is.
    fn first_start(&self) -> &'static str {
        let events_of_a_node = self.spec.audience == Audience::Node && self.source == Source::Events;
        if events_of_a_node { "new" } else { "all" }
    }

    async fn compare(&self, stream: &str, info: Info, cursor: &Cursor) -> Result<Info, Error> {
        let wanted = self.config();
        let differences = drift::differences(&wanted, &info.config, &COMPARED_BY_NODES_ALONE);
        if !differences.is_empty() {
            return Err(Error::refused(format!(
                "the consumer {} of the stream {stream} differs from what this node declares: {}. Correct the \
                 configuration, or remove it with `nats consumer rm {stream} {}` and accept that its place is lost",
                self.name,
                differences.join("; "),
                self.name
            )));
        }
        // only at the first attach: nodes of two versions would else undo each other's change for ever
        // an older version has no ceiling of deliveries
        let same_ceiling = wanted[CEILING].is_null() || wanted[CEILING] == info.config[CEILING];
        if cursor.epoch.is_some() || filters(&info.config) == filters(&wanted) && same_ceiling {
            return Ok(info);
        }
        tracing::info!(consumer = self.name, before = ?filters(&info.config), now = ?filters(&wanted), "the consumer gets other messages from now on");
        let mut changed = info.config;
        changed["filter_subjects"] = wanted["filter_subjects"].clone();
        changed[CEILING] = wanted[CEILING].clone();
        if let Some(fields) = changed.as_object_mut() {
            fields.remove("filter_subject");
        }
        self.write(stream, changed, "update").await
    }

    async fn write(&self, stream: &str, config: Value, action: &str) -> Result<Info, Error> {
        let body = json!({"stream_name": stream, "config": config, "action": action});
        let verb = format!("CONSUMER.CREATE.{stream}.{}", self.name);
        self.inbox.api(&verb, &body).await.map_err(|error| self.failed(&error))
    }

    /// The subjects it reads, of these names.
    pub(super) fn filters(&self, names: &[String]) -> Vec<String> {
        match self.source {
            Source::Replays => return vec![self.names.replays(&self.spec.audience)],
            Source::GivenUp => return vec![format!("{ADVISORY}.>")],
            Source::Events | Source::Jobs | Source::Due => {}
        }
        let subjects = |name: &String| self.names.stored_in(self.source, self.lanes, name);
        let mut filters: Vec<_> = names.iter().flat_map(subjects).collect();
        filters.sort();
        filters.dedup();
        filters
    }

    pub(super) fn wanted(&self) -> Vec<String> {
        self.spec.names.iter().map(|name| (*name).to_owned()).collect()
    }

    pub(super) fn config(&self) -> Value {
        let filters = self.filters(&self.wanted());
        let mut config =
            declaration(&self.spec.audience, &self.name, &filters, self.spec.in_flight_max, &self.config);
        if self.source == Source::GivenUp {
            config[CEILING] = (-1).into(); // below the net there is none
        }
        config
    }

    fn handled_elsewhere(&self) -> Error {
        let (stream, names) = (self.names.stream(self.source), self.spec.names.join(", "));
        Error::refused(format!(
            "another service than {} handles one of these commands as well: {names}. A command has one service: \
             take the handler out of one of the two. When the other one does not handle it any more, restart its \
             nodes; when it is gone, find its consumer with `nats consumer ls {stream}` and remove it with `nats \
             consumer rm`",
            self.names.service
        ))
    }

    pub(super) fn failed(&self, error: &ApiError) -> Error {
        if error.err_code() == api::STREAM_NOT_FOUND {
            self.vitals.recheck();
            return Error::unavailable(format!("the stream {} is gone", self.names.stream(self.source)));
        }
        if error.err_code() == api::FILTERS_OVERLAP {
            return self.handled_elsewhere();
        }
        let text = format!("the consumer {} cannot be declared: {error}", self.name);
        if error.is_temporary() { Error::unavailable(text) } else { Error::refused(text) }
    }
}

pub(super) fn filters(config: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let mut all: Vec<_> = config["filter_subjects"]
        .as_array()
        .map(|list| list.iter().filter_map(text).collect())
        .unwrap_or_default();
    all.extend(text(&config["filter_subject"]));
    all.sort();
    all
}
