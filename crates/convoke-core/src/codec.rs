//! Payloads: values to bytes, and bytes from strangers to values within [`Limits`].

mod error;
mod fingerprint;
mod json;
mod limits;
mod msgpack;

pub use error::{CodecError, CodecErrorKind};
pub use fingerprint::fingerprint;
pub use limits::Limits;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Room for a typical message, so that encoding it allocates once.
const ENCODED_BYTES_HINT: usize = 256;

/// How payloads are written.
///
/// What is encoded is not checked against [`Limits`]; the receiver does that, with its own.
///
/// ```
/// use convoke_core::{Codec, Limits};
///
/// let codec = Codec::default();
/// let payload = codec.encode(&("apples", 3))?;
/// let back: (String, u32) = codec.decode(&payload, &Limits::default())?;
/// assert_eq!(back, ("apples".to_owned(), 3));
/// # Ok::<(), convoke_core::CodecError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Codec {
    /// MessagePack with field names, so that fields can be added and other languages can read it.
    ///
    /// A `Vec<u8>` is written as an array of numbers, one item per byte; [`Bytes`] and `serde_bytes` are compact.
    #[default]
    MessagePack,
    /// JSON, for people and browsers.
    Json,
}

impl Codec {
    /// The media type of what this codec writes.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::MessagePack => "application/msgpack",
            Self::Json => "application/json",
        }
    }

    /// The codec that reads this media type, if there is one.
    ///
    /// Case and parameters (`; charset=utf-8`) do not matter. The older names of MessagePack and every `+json` type
    /// are understood.
    pub fn from_content_type(content_type: &str) -> Option<Self> {
        const MESSAGE_PACK: [&str; 3] =
            ["application/msgpack", "application/x-msgpack", "application/vnd.msgpack"];
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        if MESSAGE_PACK.iter().any(|name| name.eq_ignore_ascii_case(media_type)) {
            return Some(Self::MessagePack);
        }
        let (_, subtype) = media_type.split_once('/')?;
        let suffix = subtype.rsplit_once('+').map(|(_, suffix)| suffix);
        let json = Self::Json.content_type().eq_ignore_ascii_case(media_type)
            || suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case("json"));
        json.then_some(Self::Json)
    }

    /// Writes a value.
    ///
    /// # Errors
    ///
    /// [`CodecErrorKind::Encode`] when the value's `Serialize` refuses, or when the format cannot hold it
    /// (JSON maps need keys that are strings or numbers).
    pub fn encode<T>(self, value: &T) -> Result<Bytes, CodecError>
    where
        T: Serialize + ?Sized,
    {
        let mut buffer = Vec::with_capacity(ENCODED_BYTES_HINT);
        match self {
            Self::MessagePack => {
                let mut serializer = rmp_serde::Serializer::new(&mut buffer).with_struct_map();
                value.serialize(&mut serializer).map_err(CodecError::encode)?;
            }
            Self::Json => serde_json::to_writer(&mut buffer, value).map_err(CodecError::encode)?,
        }
        Ok(Bytes::from(buffer))
    }

    /// Reads a value that fills the payload, after checking the payload against the limits.
    ///
    /// The check is one pass without recursion or allocation. It comes before `T` sees a byte, because the
    /// parsers' own guards do not hold for every type: MessagePack bombs of 120 KB would overflow a worker's
    /// stack and abort the process. It costs some 0.1 µs for a payload of 200 bytes, a fraction of the reading.
    ///
    /// # Errors
    ///
    /// Any [`CodecErrorKind`] but [`Encode`](CodecErrorKind::Encode). The payload is then none of `T`, now or later.
    pub fn decode<'de, T>(self, payload: &'de [u8], limits: &Limits) -> Result<T, CodecError>
    where
        T: Deserialize<'de>,
    {
        if payload.len() > limits.payload_bytes_max {
            return Err(CodecError::too_large(payload.len(), limits.payload_bytes_max));
        }
        match self {
            Self::MessagePack => {
                msgpack::check(payload, limits)?;
                rmp_serde::from_slice(payload).map_err(CodecError::from_msgpack)
            }
            Self::Json => {
                json::check(payload, limits)?;
                serde_json::from_slice(payload).map_err(CodecError::from_json)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Codec;

    #[track_caller]
    fn check(content_type: &str, expected: Option<Codec>) {
        assert_eq!(Codec::from_content_type(content_type), expected, "{content_type:?}");
    }

    #[test]
    fn each_codec_recognises_its_own_content_type() {
        for codec in [Codec::MessagePack, Codec::Json] {
            check(codec.content_type(), Some(codec));
        }
    }

    #[test]
    fn case_spaces_and_parameters_do_not_matter() {
        check("Application/JSON ; charset=utf-8", Some(Codec::Json));
        check(" application/MSGPACK;v=1", Some(Codec::MessagePack));
    }

    #[test]
    fn other_names_of_the_two_formats_are_understood() {
        check("application/x-msgpack", Some(Codec::MessagePack));
        check("application/vnd.msgpack", Some(Codec::MessagePack));
        check("application/problem+json", Some(Codec::Json));
        check("application/vnd.orders.v1+JSON", Some(Codec::Json));
    }

    #[test]
    fn anything_else_has_no_codec() {
        for other in
            ["", ";", "json", "+json", "text/plain", "application/jsonp", "application/json+xml", "ä/ö+jsön"]
        {
            check(other, None);
        }
    }
}
