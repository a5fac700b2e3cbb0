use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use convoke_core::{Codec, Letter, Limits, Payload};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::print::wrapped;

const WIDTH: usize = 80;
/// Behind a letter's number.
const MARGIN: usize = 10;

/// A letter, for people and programs.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Shown {
    /// Names it in commands; later ones are higher.
    pub number: u64,
    /// When it was stored.
    pub buried_at: Timestamp,
    /// The service whose handler gave up.
    pub service: String,
    /// The message's wire name.
    pub name: String,
    /// The handler that gave up; empty when it was none, as for a message that could not be read.
    pub handler: String,
    /// The node it ran on.
    pub node: String,
    /// Whom a replay goes to: `node.<node>`, `group.<group>` or `jobs.all`.
    pub target: String,
    /// The message's id.
    pub message_id: String,
    /// How often it ran and faulted.
    pub attempts: u32,
    /// How often it was replayed before.
    pub replays: u32,
    /// The error and what caused it.
    pub errors: Vec<String>,
    /// The W3C trace context the message travelled with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// The headers of the sender.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// The content, when it was asked for.
    #[serde(flatten)]
    pub payload: Option<ShownPayload>,
}

/// The content of a letter's message.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ShownPayload {
    /// As JSON.
    Payload(Value),
    /// In base64, when it cannot be read.
    PayloadBase64(String),
}

/// Some of the letters, oldest first.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ShownPage {
    /// The letters, without their content.
    pub letters: Vec<Shown>,
    /// What `--after` is on the next page. None: there is no next page.
    pub next: Option<u64>,
}

impl Shown {
    pub(super) fn without_payload(letter: &Letter) -> Self {
        let dead = &letter.letter;
        let envelope = &dead.message.envelope;
        Self {
            number: letter.number,
            buried_at: Timestamp::try_from(letter.buried_at).unwrap_or_default(),
            service: letter.service.clone(),
            name: dead.message.name.to_string(),
            handler: dead.handler.clone(),
            node: dead.node.clone(),
            target: dead.target(),
            message_id: envelope.id().to_string(),
            attempts: dead.attempts,
            replays: dead.replays,
            errors: dead.errors.clone(),
            traceparent: None,
            headers: Vec::new(),
            payload: None,
        }
    }

    pub(super) fn with_payload(letter: &Letter) -> Self {
        let envelope = &letter.letter.message.envelope;
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Self {
            traceparent: envelope.traceparent.as_ref().map(ToString::to_string),
            headers: envelope.headers.iter().map(own).collect(),
            payload: content(&letter.letter.message.payload),
            ..Self::without_payload(letter)
        }
    }
}

fn content(payload: &Payload) -> Option<ShownPayload> {
    let (codec, bytes) = payload.encoded(Codec::default()).ok()?;
    let read = codec.decode::<Value>(&bytes, &Limits::default());
    Some(read.map_or_else(|_| ShownPayload::PayloadBase64(STANDARD.encode(&bytes)), ShownPayload::Payload))
}

/// To the second: people compare it with a clock.
fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn handler(shown: &Shown) -> &str {
    if shown.handler.is_empty() { "no handler" } else { &shown.handler }
}

impl fmt::Display for ShownPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.letters.is_empty() {
            return f.write_str("no dead letters");
        }
        for one in &self.letters {
            let (number, at, name) = (one.number, time(one.buried_at), &one.name);
            let line = format!("{at}  {name}  {} of {} on {}", handler(one), one.service, one.node);
            writeln!(f, "{number:>8}  {}", wrapped(&line, MARGIN, WIDTH))?;
            let error = one.errors.first().map_or("no error is known", String::as_str);
            let attempts =
                if one.attempts == 1 { "1 attempt" } else { &format!("{} attempts", one.attempts) };
            let replays =
                if one.replays == 0 { String::new() } else { format!(", replayed {}x", one.replays) };
            let line = format!("{attempts}{replays}: {error}");
            writeln!(f, "{:MARGIN$}{}", "", wrapped(&line, MARGIN, WIDTH))?;
        }
        match (self.letters.len(), self.next) {
            (_, Some(next)) => write!(f, "\nmore: add --after {next}"),
            (1, None) => f.write_str("\n1 dead letter"),
            (count, None) => write!(f, "\n{count} dead letters"),
        }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LABEL: usize = 11;
        let mut row = |label: &str, text: &str| writeln!(f, "{label:<LABEL$}{}", wrapped(text, LABEL, WIDTH));
        row("number", &self.number.to_string())?;
        row("buried at", &time(self.buried_at))?;
        row("message", &format!("{} {}", self.name, self.message_id))?;
        row("handler", &format!("{} of {} on {}", handler(self), self.service, self.node))?;
        row("replay to", &self.target)?;
        row("attempts", &self.attempts.to_string())?;
        row("replays", &self.replays.to_string())?;
        for (number, error) in self.errors.iter().enumerate() {
            row(if number == 0 { "error" } else { "because" }, error)?;
        }
        if let Some(traceparent) = &self.traceparent {
            row("trace", traceparent)?;
        }
        for (name, value) in &self.headers {
            row("header", &format!("{name}: {value}"))?;
        }
        match &self.payload {
            Some(ShownPayload::Payload(value)) => write!(f, "\n{value:#}"),
            Some(ShownPayload::PayloadBase64(text)) => write!(f, "\ncannot be read; in base64:\n{text}"),
            None => Ok(()),
        }
    }
}
