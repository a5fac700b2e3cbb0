//! Where a service's messages go, without asking a server.

use convoke_core::{Audience, Described, Description, MessageKind, Runs};
use serde::Serialize;

use crate::{
    Config, Error, declare,
    names::{Names, Source},
};

/// In a name, for the node's id, for what tells one run of it from another, and for the part of a group's lanes.
const NODE: &str = "<node>";
const RUN: &str = "<run>";
const SPAN: &str = "<span>=<epoch>";

/// The subjects, streams and consumers that a service uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Layout {
    /// Where its messages arrive.
    pub subjects: Vec<LaidSubject>,
    /// The streams of its namespace, which all its services share.
    pub streams: Vec<LaidStream>,
    /// What it reads streams by.
    pub consumers: Vec<LaidConsumer>,
}

/// Where one message arrives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LaidSubject {
    /// The subject; `*` stands for the lane of the message's key.
    pub subject: String,
    /// The message's wire name.
    pub message: String,
    /// The queue group that answers requests. None where it is stored.
    pub queue_group: Option<String>,
    /// The stream it is stored in. None for a request.
    pub stream: Option<String>,
}

/// A stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LaidStream {
    /// Its name.
    pub name: String,
    /// What it stores.
    pub subjects: Vec<String>,
    /// How many copies are declared.
    pub copies: usize,
    /// How long a message is kept, in seconds. None when it has no limit.
    pub age_seconds_max: Option<u64>,
    /// Its size in bytes. None when it has no limit.
    pub bytes_max: Option<u64>,
}

/// A consumer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LaidConsumer {
    /// Its name, with `<node>` for the node's id, and `<span>=<epoch>` for each part of a group's lanes.
    pub name: String,
    /// The stream it reads.
    pub stream: String,
    /// The subjects it wants.
    pub subjects: Vec<String>,
}

/// What a service of this description uses in a NATS server.
///
/// # Errors
/// When the namespace, the service, a group or a wire name cannot be used with NATS.
pub fn layout(description: &Description, config: &Config) -> Result<Layout, Error> {
    let names = Names::of_service(&description.namespace, &description.service)?;
    let names = Names { node: NODE.to_owned(), ..names };
    let mut layout = Layout { subjects: Vec::new(), streams: streams(config, &names), consumers: Vec::new() };
    for handler in &description.handlers {
        match handler.kind {
            MessageKind::Event => layout.add_event(handler, &names)?,
            MessageKind::Command => {
                layout.add_request(handler, &names)?;
                for source in [Source::Jobs, Source::Due] {
                    layout.add_stored(handler, source, &Audience::Jobs, &names)?;
                }
            }
            MessageKind::Query => layout.add_request(handler, &names)?,
        }
    }
    Ok(layout)
}

impl Layout {
    fn add_request(&mut self, handler: &Described, names: &Names) -> Result<(), Error> {
        let subject = names.request(handler.kind, &handler.name).ok_or_else(|| no_name(&handler.name))?;
        let (message, queue_group) = (handler.name.clone(), Some(names.service.clone()));
        self.subjects.push(LaidSubject { subject, message, queue_group, stream: None });
        Ok(())
    }

    fn add_event(&mut self, handler: &Described, names: &Names) -> Result<(), Error> {
        let audience = match &handler.runs {
            Runs::Group(group) => Audience::Group(group.clone()),
            Runs::View => Audience::View,
            Runs::OneNode | Runs::Leader | Runs::EveryNode => Audience::Node,
        };
        self.add_stored(handler, Source::Events, &audience, names)
    }

    fn add_stored(
        &mut self,
        handler: &Described,
        source: Source,
        audience: &Audience,
        names: &Names,
    ) -> Result<(), Error> {
        let subject = names.stored_in_all(source, &handler.name).ok_or_else(|| no_name(&handler.name))?;
        let (stream, name) = (names.stream(source), names.consumer(audience, RUN)?);
        if !self.subjects.iter().any(|known| known.subject == subject) {
            let (message, stream) = (handler.name.clone(), Some(stream.clone()));
            self.subjects.push(LaidSubject { subject: subject.clone(), message, queue_group: None, stream });
        }
        if let (Audience::Group(_), Source::Events) = (audience, source) {
            self.add_consumer(format!("{name}={SPAN}"), stream.clone(), subject.clone());
        }
        self.add_consumer(name, stream, subject);
        // dead letters come back to whom gave them up; a view gives nothing up
        if *audience != Audience::View && source != Source::Due {
            let (name, subject) = (names.replay_consumer(audience), names.replays(audience));
            self.add_consumer(name, names.stream(Source::Replays), subject);
        }
        Ok(())
    }

    fn add_consumer(&mut self, name: String, stream: String, subject: String) {
        let known = self.consumers.iter_mut().find(|known| known.name == name && known.stream == stream);
        match known {
            Some(known) if known.subjects.contains(&subject) => {}
            Some(known) => known.subjects.push(subject),
            None => self.consumers.push(LaidConsumer { name, stream, subjects: vec![subject] }),
        }
    }
}

fn streams(config: &Config, names: &Names) -> Vec<LaidStream> {
    let limit = |value: &serde_json::Value| value.as_u64().filter(|limit| *limit > 0);
    let laid = |declared: serde_json::Value| LaidStream {
        name: declared["name"].as_str().unwrap_or_default().to_owned(),
        subjects: declared["subjects"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|one| one.as_str().map(str::to_owned))
            .collect(),
        copies: config.copies(),
        age_seconds_max: limit(&declared["max_age"]).map(|nanos| nanos / 1_000_000_000),
        bytes_max: limit(&declared["max_bytes"]),
    };
    declare::streams(config, names).map(laid).into()
}

fn no_name(name: &str) -> Error {
    Error::config(format!(
        "{name:?} is no wire name: use words of letters, digits, `-` and `_` with dots between them"
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn description(handlers: &[(&str, &str, Value)]) -> Description {
        let handler = |(kind, name, runs): &(&str, &str, Value)| {
            json!({"kind": kind, "name": name, "handler": "H::h", "runs": runs, "idempotent": false,
                   "message": "M", "reply": null, "error": null, "at": "a.rs:1"})
        };
        let handlers: Vec<_> = handlers.iter().map(handler).collect();
        let whole = json!({"format": 1, "service": "orders", "namespace": "eu", "handlers": handlers});
        serde_json::from_value(whole).expect("a description")
    }

    #[test]
    fn each_kind_has_its_subjects_and_consumers() {
        let described = description(&[
            ("command", "o.place", json!("one-node")),
            ("query", "o.get", json!("one-node")),
            ("event", "o.placed", json!("every-node")),
            ("event", "o.placed", json!("view")),
            ("event", "o.placed", json!({"group": "billing"})),
            ("event", "o.shipped", json!("every-node")),
        ]);
        let layout = layout(&described, &Config::default()).expect("good names");
        let subjects: Vec<_> = layout.subjects.iter().map(|one| one.subject.as_str()).collect();
        let expected = [
            "eu.cmd.o.place",
            "eu.job.*.o.place",
            "eu.due.*.o.place",
            "eu.qry.o.get",
            "eu.evt.*.o.placed",
            "eu.evt.*.o.shipped",
        ];
        assert_eq!(subjects, expected);
        assert_eq!(layout.subjects[0].queue_group.as_deref(), Some("orders"));
        assert_eq!(layout.subjects[4].stream.as_deref(), Some("EU_EVENTS"));
        let consumers: Vec<_> = layout
            .consumers
            .iter()
            .map(|one| (one.name.as_str(), one.stream.as_str(), one.subjects.len()))
            .collect();
        let expected = [
            ("orders__jobs", "EU_JOBS", 1),
            ("orders__jobs", "EU_REPLAY", 1),
            ("orders__jobs", "EU_SCHEDULE", 1),
            ("orders__<node>", "EU_EVENTS", 2),
            ("orders__node__<node>", "EU_REPLAY", 1),
            ("orders__<node>__view__<run>", "EU_EVENTS", 1),
            ("orders__group__billing=<span>=<epoch>", "EU_EVENTS", 1),
            ("orders__group__billing", "EU_EVENTS", 1),
            ("orders__group__billing", "EU_REPLAY", 1),
        ];
        assert_eq!(consumers, expected);
        let events = &layout.streams[0];
        assert_eq!((events.name.as_str(), events.age_seconds_max), ("EU_EVENTS", Some(7 * 24 * 60 * 60)));
    }

    #[test]
    fn names_that_nats_cannot_use_are_refused() {
        let bad_name = description(&[("command", "o place", json!("one-node"))]);
        assert!(layout(&bad_name, &Config::default()).is_err());
        let mut bad_service = description(&[]);
        "a.b".clone_into(&mut bad_service.service);
        assert!(layout(&bad_service, &Config::default()).is_err());
    }
}
