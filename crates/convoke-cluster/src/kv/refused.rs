use super::{
    limits::{KEY_BYTES_MAX, SCOPE_BYTES_MAX, VALUE_BYTES_MAX},
    machine::Refusal,
};
use crate::{Error, ErrorKind};

/// The sentence for a refusal.
pub(super) fn refused(refusal: Refusal) -> Error {
    match refusal {
        Refusal::Unreadable => {
            Error::refused("the cluster cannot read this command: its nodes are of other versions")
        }
        Refusal::NoKey => Error::refused("a key has at least one byte"),
        Refusal::Key { bytes } => too_large("key", bytes, KEY_BYTES_MAX),
        Refusal::Value { bytes } => too_large("value", bytes, VALUE_BYTES_MAX),
        Refusal::Scope { bytes } => too_large("name for fences", bytes, SCOPE_BYTES_MAX),
        Refusal::Ttl => Error::refused("a lifetime is longer than nothing"),
        Refusal::Full => Error::full("the key-value store is full: delete something first"),
    }
}

fn too_large(what: &str, bytes: u64, max: usize) -> Error {
    let kind = ErrorKind::TooLarge { bytes, bytes_max: max as u64 };
    Error::new(kind, format!("a {what} of {bytes} bytes, and {max} are the most there can be"))
}
