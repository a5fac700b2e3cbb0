//! What a payload may cost its reader.

use serde::Deserialize;

/// What a payload may be before it is refused unread.
///
/// Together they bound the memory of decoding. Whatever the payload declares, `T` is only built from values that are
/// really there: no more of them than [`items_max`](Self::items_max), where a blob is one but may be read as a list
/// of its bytes, and no more bytes than [`payload_bytes_max`](Self::payload_bytes_max).
///
/// ```
/// let limits = convoke_core::Limits::default().payload_bytes_max(64 * 1024).depth_max(16);
/// assert_eq!(limits.items_max, 1_000_000);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Limits {
    /// Length of the payload. Default: 1 MiB.
    pub payload_bytes_max: usize,
    /// Arrays and maps inside each other. Above [`DEPTH_CEILING`](Self::DEPTH_CEILING) it counts as the ceiling.
    /// Default: 64.
    pub depth_max: usize,
    /// Values in total: arrays, maps, and what is in them, keys included. Default: 1 000 000.
    pub items_max: usize,
}

impl Limits {
    /// The deepest nesting ever read, whatever [`depth_max`](Self::depth_max) says.
    ///
    /// Decoding recurses, and this deep it is safe on a worker's stack of 2 MiB. JSON parsing ends here too.
    pub const DEPTH_CEILING: usize = 127;

    /// Sets [`payload_bytes_max`](Self::payload_bytes_max).
    #[must_use]
    pub const fn payload_bytes_max(mut self, bytes: usize) -> Self {
        self.payload_bytes_max = bytes;
        self
    }

    /// Sets [`depth_max`](Self::depth_max).
    #[must_use]
    pub const fn depth_max(mut self, depth: usize) -> Self {
        self.depth_max = depth;
        self
    }

    /// Sets [`items_max`](Self::items_max).
    #[must_use]
    pub const fn items_max(mut self, items: usize) -> Self {
        self.items_max = items;
        self
    }

    /// The depth that is enforced.
    pub(super) fn effective_depth_max(&self) -> usize {
        self.depth_max.min(Self::DEPTH_CEILING)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { payload_bytes_max: 1024 * 1024, depth_max: 64, items_max: 1_000_000 }
    }
}
