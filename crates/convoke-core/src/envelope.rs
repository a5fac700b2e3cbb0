use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use uuid::Uuid;

/// What travels with a message besides its content.
#[derive(Clone, Default)]
pub struct Envelope {
    id: OnceLock<Uuid>, // made on first use: a local call that never asks pays nothing
    /// The id of the message that started it all. `None`: this one did.
    pub correlation: Option<Uuid>,
    /// The id of the message that was handled when this one was made.
    pub causation: Option<Uuid>,
    /// When the caller stops waiting. `None`: nobody waits.
    pub expiry: Option<Expiry>,
    /// The key under which an idempotent command runs once.
    pub idempotency_key: Option<Box<str>>,
    /// The node that made the message.
    pub source: Option<Arc<str>>, // shared: each handler has the envelope
    /// W3C trace context, when the caller's span is sampled.
    pub traceparent: Option<Box<str>>,
    /// What the sender added.
    pub headers: Headers,
}

/// A deadline as it travels: the receiver counts `remaining` from arrival on its own clock and uses
/// `at` only to drop what lay in a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    /// Time left when the message was sent.
    pub remaining: Duration,
    /// The same as wall-clock time, in milliseconds since 1970.
    pub at_unix_ms: u64,
}

impl Expiry {
    /// How far two nodes' clocks may differ before a fresh message is taken for an expired one.
    pub const CLOCK_SKEW_MAX: Duration = Duration::from_secs(30);

    /// A deadline `remaining` from now.
    pub fn after(remaining: Duration) -> Self {
        Self::after_at(remaining, unix_ms())
    }

    pub(crate) fn after_at(remaining: Duration, unix_ms: u64) -> Self {
        Self { remaining, at_unix_ms: unix_ms.saturating_add(millis(remaining)) }
    }

    /// Whether it passed longer ago than clocks may differ: the message lay in a buffer.
    pub fn is_stale(&self) -> bool {
        self.is_stale_at(unix_ms())
    }

    pub(crate) fn is_stale_at(&self, unix_ms: u64) -> bool {
        unix_ms > self.at_unix_ms.saturating_add(millis(Self::CLOCK_SKEW_MAX))
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis)
}

/// What an [`Envelope`] header holds that is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed envelope: {0}")]
pub struct EnvelopeError(&'static str);

impl Envelope {
    /// Longest text form that is read. A key, a source and three ids fit twice.
    pub const TEXT_BYTES_MAX: usize = 1024;
    /// Longest idempotency key.
    pub const KEY_BYTES_MAX: usize = 255;

    /// An envelope with this id.
    pub fn with_id(id: Uuid) -> Self {
        Self { id: OnceLock::from(id), ..Self::default() }
    }

    /// The id of the message, a UUIDv7.
    pub fn id(&self) -> Uuid {
        *self.id.get_or_init(Uuid::now_v7)
    }

    /// Makes this the id.
    pub fn set_id(&mut self, id: Uuid) {
        self.id = OnceLock::from(id);
    }

    /// The correlation that messages caused by this one carry on.
    pub fn correlation_or_id(&self) -> Uuid {
        self.correlation.unwrap_or_else(|| self.id())
    }

    /// Whether a key can travel: 1 to [`KEY_BYTES_MAX`](Self::KEY_BYTES_MAX) visible ASCII characters.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence.
    pub fn check_key(key: &str) -> Result<(), &'static str> {
        match key.len() {
            0 => Err("an idempotency key must not be empty"),
            1 if key == "-" => Err("an idempotency key must not be a lone `-`: on the wire that is none"),
            n if n > Self::KEY_BYTES_MAX => Err("an idempotency key has at most 255 characters"),
            _ if !key.bytes().all(|b| b.is_ascii_graphic()) => {
                Err("an idempotency key has visible ASCII characters only, without spaces")
            }
            _ => Ok(()),
        }
    }

    /// The compact form for one header: `1 <id> <remaining ms> <at ms> <correlation> <causation> <source> <key>`,
    /// ids as 22 characters of base64url, `-` for what is absent.
    pub fn to_text(&self) -> String {
        let id =
            |id: Option<Uuid>| id.map_or_else(|| "-".to_owned(), |id| URL_SAFE_NO_PAD.encode(id.as_bytes()));
        let (remaining, at) = self.expiry.map_or((0, 0), |e| (millis(e.remaining), e.at_unix_ms));
        format!(
            "1 {} {remaining} {at} {} {} {} {}",
            id(Some(self.id())),
            id(self.correlation),
            id(self.causation),
            self.source.as_deref().unwrap_or("-"),
            self.idempotency_key.as_deref().unwrap_or("-"),
        )
    }

    /// Reads the compact form. Trace context and headers travel beside it.
    ///
    /// # Errors
    /// When the text is not one; nothing is guessed.
    pub fn from_text(text: &str) -> Result<Self, EnvelopeError> {
        if text.len() > Self::TEXT_BYTES_MAX {
            return Err(EnvelopeError("longer than 1024 bytes"));
        }
        let mut parts = text.split(' ');
        let mut next = || parts.next().ok_or(EnvelopeError("a part is missing"));
        if next()? != "1" {
            return Err(EnvelopeError("an unknown version"));
        }
        let id = parse_id(next()?)?.ok_or(EnvelopeError("no id"))?;
        let number =
            |text: &str| text.parse::<u64>().map_err(|_| EnvelopeError("not a number of milliseconds"));
        let (remaining, at_unix_ms) = (number(next()?)?, number(next()?)?);
        let expiry =
            (at_unix_ms != 0).then_some(Expiry { remaining: Duration::from_millis(remaining), at_unix_ms });
        let (correlation, causation) = (parse_id(next()?)?, parse_id(next()?)?);
        let (source, idempotency_key) = (word(next()?)?, word(next()?)?);
        if parts.next().is_some() {
            return Err(EnvelopeError("more than eight parts"));
        }
        if idempotency_key.is_some_and(|key| Self::check_key(key).is_err()) {
            return Err(EnvelopeError("an idempotency key out of bounds"));
        }
        Ok(Self {
            correlation,
            causation,
            expiry,
            idempotency_key: idempotency_key.map(Box::from),
            source: source.map(Arc::from),
            ..Self::with_id(id)
        })
    }
}

fn word(text: &str) -> Result<Option<&str>, EnvelopeError> {
    match text {
        "" => Err(EnvelopeError("an empty part")), // it was cut short
        "-" => Ok(None),
        text => Ok(Some(text)),
    }
}

fn parse_id(text: &str) -> Result<Option<Uuid>, EnvelopeError> {
    if text == "-" {
        return Ok(None);
    }
    let mut bytes = [0; 16];
    match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
        Ok(16) => Ok(Some(Uuid::from_bytes(bytes))),
        _ => Err(EnvelopeError("not an id")),
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope")
            .field("id", &self.id())
            .field("expiry", &self.expiry)
            .finish_non_exhaustive()
    }
}

/// Names and values that a sender adds to a message.
///
/// Names are kept in lower case. At most [`Headers::COUNT_MAX`] of them, in [`Headers::BYTES_MAX`] bytes.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(Box<str>, Box<str>)>);

impl Headers {
    /// How many headers a message may have.
    pub const COUNT_MAX: usize = 32;
    /// How many bytes names and values may have together.
    pub const BYTES_MAX: usize = 8 * 1024;

    /// Adds a header, replacing one of the same name. White space around the value is dropped, as wires do.
    ///
    /// # Errors
    /// When the name is not a token, the value has control characters, or a limit is reached; as a sentence.
    pub fn insert(&mut self, name: &str, value: &str) -> Result<(), &'static str> {
        let token = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        if name.is_empty() || !name.bytes().all(token) {
            return Err("a header's name has letters, digits, `-`, `_` and `.` only");
        }
        if value.chars().any(char::is_control) {
            return Err("a header's value has no control characters");
        }
        let (name, value) = (name.to_ascii_lowercase(), value.trim());
        let others = || self.0.iter().filter(|(known, _)| **known != *name);
        let bytes: usize = others().map(|(n, v)| n.len() + v.len()).sum();
        if others().count() == Self::COUNT_MAX || bytes + name.len() + value.len() > Self::BYTES_MAX {
            return Err("too many headers: at most 32 in 8 KiB"); // and the one of this name stays
        }
        self.0.retain(|(known, _)| **known != *name);
        self.0.push((name.into(), value.into()));
        Ok(())
    }

    /// The value of a header; names are compared in lower case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// All headers, in the order they were added.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(name, _)| name)).finish() // values may be secrets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_comes_back() {
        let mut envelope = Envelope::with_id(Uuid::now_v7());
        envelope.causation = Some(Uuid::now_v7());
        envelope.expiry = Some(Expiry::after(Duration::from_millis(1500)));
        envelope.idempotency_key = Some("order-17".into());
        let back = Envelope::from_text(&envelope.to_text()).expect("its own text");
        assert_eq!(back.to_text(), envelope.to_text());
        assert_eq!(back.expiry, envelope.expiry);
    }

    #[test]
    fn what_is_not_an_envelope_is_refused() {
        for text in ["", "1", "2 x", "1 short 0 0 - - - -", "1 - 0 0 - - - -"] {
            assert!(Envelope::from_text(text).is_err(), "{text:?}");
        }
        let long = format!("1 {}", "x".repeat(Envelope::TEXT_BYTES_MAX));
        assert_eq!(
            Envelope::from_text(&long).unwrap_err().to_string(),
            "malformed envelope: longer than 1024 bytes"
        );
    }

    #[test]
    fn headers_have_limits() {
        let mut headers = Headers::default();
        for n in 0..Headers::COUNT_MAX {
            headers.insert(&format!("h{n}"), "v").expect("below the limit");
        }
        assert!(headers.insert("one-more", "v").is_err());
        headers.insert("H0", "replaced").expect("the same name");
        assert_eq!(headers.get("h0"), Some("replaced"));
        headers.insert("h0", " a b\u{3000}").expect("the same name");
        assert_eq!(headers.get("h0"), Some("a b"));
        assert!(headers.insert("x", "line\r\nbreak").is_err());
        assert!(Headers::default().insert("x", &"v".repeat(Headers::BYTES_MAX)).is_err());
    }
}
