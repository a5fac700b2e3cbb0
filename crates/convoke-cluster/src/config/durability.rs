use std::time::Duration;

/// When an entry of the log counts as kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Durability {
    /// When it is on the disk. What was acknowledged survives a power cut of all members at once. Entries that arrive
    /// together share one sync.
    #[default]
    Sync,
    /// When it is in memory, and on the disk soon after. A power cut of a majority at once loses at most what came in the
    /// last `interval`, or the last `threshold` entries, whichever is less; a member that fails alone loses nothing
    /// that the others do not have. Votes are synced always.
    Batched {
        /// So many entries are synced at once, however young they are.
        threshold: u32,
        /// So old may an entry be that is not synced.
        interval: Duration,
    },
}
