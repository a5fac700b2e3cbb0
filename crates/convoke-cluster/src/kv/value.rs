use std::time::Duration;

use bytes::Bytes;

/// What stands under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Value {
    /// The bytes.
    pub bytes: Bytes,
    /// The place of its last write in the log. Grows with every write, of any key.
    pub version: u64,
    /// What was left of its lifetime when it was read, or written.
    pub remaining: Option<Duration>,
}

/// A part of a scan, as it was at one place of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page {
    /// Keys in their order, with what stands under them.
    pub entries: Vec<(Bytes, Value)>,
    /// Where the next page begins, for [`Scan::after`](crate::kv::Scan::after). `None` at the end.
    pub next: Option<Bytes>,
}
