use std::time::Duration;

/// When an entry of the log counts as kept by a member.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Durability {
    /// When it is on the disk. What was acknowledged survives a power cut of all members at once. Entries that arrive
    /// together share one sync.
    #[default]
    Sync,
    /// When it is in memory, and on the disk soon after. A power cut can lose what was acknowledged in the last
    /// `interval`, and no more than the last `threshold` entries: of a majority at once, or of one member when
    /// another fails before it caught up. Processes that die lose nothing, and votes are always synced.
    Batched {
        /// So many entries are synced at once, however young they are.
        threshold: u32,
        /// So old may an entry be that is not synced.
        interval: Duration,
    },
}

impl Durability {
    /// A sync for each thousand entries, or every 10 ms.
    pub const BATCHED: Self = Self::Batched { threshold: 1000, interval: Duration::from_millis(10) };
}
