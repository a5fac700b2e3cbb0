//! Why a payload could not be written or read.

use std::error::Error;
use std::fmt::{self, Display, Write as _};

use crate::BoxError;

/// How much of a parser's own message is kept. It may quote the payload, which a stranger chose.
const DETAIL_BYTES_MAX: usize = 256;

/// A payload could not be written or read.
///
/// The text says which limit was exceeded, or where and why the payload is wrong. It may quote a little of the
/// payload, so it belongs into an answer to the sender rather than into a log.
#[derive(Debug)]
pub struct CodecError {
    kind: CodecErrorKind,
    message: String,
    source: Option<BoxError>,
}

/// What a caller can branch on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CodecErrorKind {
    /// The payload is longer than allowed.
    TooLarge,
    /// The payload nests deeper than allowed.
    TooDeep,
    /// The payload holds more values than allowed.
    TooManyItems,
    /// The payload ends inside a value, or declares more than it holds.
    Truncated,
    /// Bytes follow the value.
    Trailing,
    /// The payload is not of this format, or not of this type.
    Malformed,
    /// The value could not be written.
    Encode,
}

impl CodecError {
    /// What went wrong.
    pub fn kind(&self) -> CodecErrorKind {
        self.kind
    }

    #[cold]
    pub(super) fn too_large(bytes: usize, limit: usize) -> Self {
        Self::new(
            CodecErrorKind::TooLarge,
            format!("payload of {bytes} bytes is over the limit of {limit} bytes"),
        )
    }

    #[cold]
    pub(super) fn too_deep(at: usize, limit: usize) -> Self {
        Self::new(
            CodecErrorKind::TooDeep,
            format!("payload nests deeper than the limit of {limit} levels at byte {at}"),
        )
    }

    #[cold]
    pub(super) fn too_many_items(at: usize, limit: usize) -> Self {
        Self::new(
            CodecErrorKind::TooManyItems,
            format!("payload holds more than the limit of {limit} values at byte {at}"),
        )
    }

    #[cold]
    pub(super) fn truncated(at: usize, end: usize) -> Self {
        Self::new(
            CodecErrorKind::Truncated,
            format!("payload is truncated: the value at byte {at} does not end within its {end} bytes"),
        )
    }

    #[cold]
    pub(super) fn trailing(at: usize, end: usize) -> Self {
        Self::new(
            CodecErrorKind::Trailing,
            format!("payload goes on behind its value, from byte {at} to byte {end}"),
        )
    }

    #[cold]
    pub(super) fn reserved_marker(at: usize) -> Self {
        Self::new(CodecErrorKind::Malformed, format!("malformed MessagePack: reserved marker at byte {at}"))
    }

    #[cold]
    pub(super) fn from_msgpack(source: rmp_serde::decode::Error) -> Self {
        Self::caused_by(CodecErrorKind::Malformed, "malformed MessagePack", source)
    }

    #[cold]
    pub(super) fn from_json(source: serde_json::Error) -> Self {
        if source.is_eof() {
            return Self::caused_by(CodecErrorKind::Truncated, "payload is truncated", source);
        }
        Self::caused_by(CodecErrorKind::Malformed, "malformed JSON", source)
    }

    #[cold]
    pub(super) fn encode(source: impl Error + Send + Sync + 'static) -> Self {
        Self::caused_by(CodecErrorKind::Encode, "value cannot be encoded", source)
    }

    fn new(kind: CodecErrorKind, message: String) -> Self {
        Self { kind, message, source: None }
    }

    fn caused_by(kind: CodecErrorKind, what: &str, source: impl Error + Send + Sync + 'static) -> Self {
        let mut detail = Bounded { text: format!("{what}: "), room: DETAIL_BYTES_MAX };
        let whole = write!(detail, "{source}").is_ok();
        // A longer source would carry a stranger's megabyte along wherever the error goes.
        let source = whole.then(|| BoxError::from(source));
        Self { kind, message: detail.text, source }
    }
}

impl Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for CodecError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// Keeps the beginning of what is written to it.
struct Bounded {
    text: String,
    room: usize,
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let kept = &part[..part.floor_char_boundary(self.room)];
        self.text.push_str(kept);
        self.room -= kept.len();
        if kept.len() == part.len() {
            return Ok(());
        }
        self.text.push('…');
        Err(fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::{CodecError, CodecErrorKind};

    #[track_caller]
    fn check(error: CodecError, kind: CodecErrorKind, message: &str) {
        assert_eq!((error.kind(), error.to_string().as_str()), (kind, message));
    }

    #[test]
    fn a_message_names_the_limit_and_the_place() {
        check(
            CodecError::too_deep(66, 64),
            CodecErrorKind::TooDeep,
            "payload nests deeper than the limit of 64 levels at byte 66",
        );
        check(
            CodecError::too_large(9, 8),
            CodecErrorKind::TooLarge,
            "payload of 9 bytes is over the limit of 8 bytes",
        );
    }

    #[test]
    fn a_source_is_quoted_and_kept() {
        let error = CodecError::encode(std::io::Error::other("no such luck"));
        assert_eq!(error.source().map(ToString::to_string).as_deref(), Some("no such luck"));
        check(error, CodecErrorKind::Encode, "value cannot be encoded: no such luck");
    }

    #[test]
    fn a_huge_source_is_cut_at_a_character_and_dropped() {
        let error = CodecError::encode(std::io::Error::other(format!("x{}", "ä".repeat(1_000_000))));
        assert!(error.source().is_none());
        check(error, CodecErrorKind::Encode, &format!("value cannot be encoded: x{}…", "ä".repeat(127)));
    }
}
