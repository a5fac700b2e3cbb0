use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Syncs are counted by how long they took: bucket `n` holds those below 2^n microseconds.
const BUCKETS: usize = 26;

/// What the thread of the log counts.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) entries: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) segments: AtomicU64,
    pub(super) unsynced: AtomicU64,
    syncs: [AtomicU64; BUCKETS],
    sync_micros: AtomicU64,
    sync_micros_max: AtomicU64,
}

/// What a log did since it was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LogMetrics {
    /// Entries that were written.
    pub(crate) entries: u64,
    /// Bytes that were written.
    pub(crate) bytes: u64,
    /// Files there are.
    pub(crate) segments: u64,
    /// Entries that were acknowledged and are not on the disk. Above zero with `Durability::Batched` only.
    pub(crate) unsynced: u64,
    /// Syncs of the log.
    pub(crate) syncs: u64,
    /// What they took together.
    pub(crate) sync_time: Duration,
    /// What the longest of them took.
    pub(crate) sync_time_max: Duration,
    /// Half of them took no longer, to a factor of two.
    pub(crate) sync_p50: Duration,
    /// All but one in a hundred took no longer, to a factor of two.
    pub(crate) sync_p99: Duration,
}

impl Counters {
    pub(super) fn synced(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = (u64::BITS - micros.leading_zeros()) as usize;
        self.syncs[bucket.min(BUCKETS - 1)].fetch_add(1, Relaxed);
        self.sync_micros.fetch_add(micros, Relaxed);
        self.sync_micros_max.fetch_max(micros, Relaxed);
    }

    pub(super) fn snapshot(&self) -> LogMetrics {
        let buckets = self.syncs.each_ref().map(|bucket| bucket.load(Relaxed));
        LogMetrics {
            entries: self.entries.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            segments: self.segments.load(Relaxed),
            unsynced: self.unsynced.load(Relaxed),
            syncs: buckets.iter().sum(),
            sync_time: Duration::from_micros(self.sync_micros.load(Relaxed)),
            sync_time_max: Duration::from_micros(self.sync_micros_max.load(Relaxed)),
            sync_p50: quantile(&buckets, 50),
            sync_p99: quantile(&buckets, 99),
        }
    }
}

fn quantile(buckets: &[u64; BUCKETS], percent: u64) -> Duration {
    let wanted = (buckets.iter().sum::<u64>() * percent).div_ceil(100);
    let mut seen = 0;
    for (bucket, count) in buckets.iter().enumerate() {
        seen += count;
        if seen >= wanted && wanted > 0 {
            return Duration::from_micros(1 << bucket);
        }
    }
    Duration::ZERO
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_of_a_hundred_syncs_is_not_in_the_ninety_ninth_part() {
        let counters = Counters::default();
        for _ in 0..99 {
            counters.synced(Duration::from_micros(100));
        }
        counters.synced(Duration::from_secs(1));
        let metrics = counters.snapshot();
        assert_eq!((metrics.syncs, metrics.sync_time_max), (100, Duration::from_secs(1)));
        assert_eq!(
            (metrics.sync_p50, metrics.sync_p99),
            (Duration::from_micros(128), Duration::from_micros(128))
        );
        counters.synced(Duration::from_secs(1));
        counters.synced(Duration::from_secs(1));
        assert!(counters.snapshot().sync_p99 >= Duration::from_secs(1));
    }

    #[test]
    fn a_sync_that_never_ends_is_in_the_last_bucket() {
        let counters = Counters::default();
        counters.synced(Duration::MAX);
        assert_eq!(counters.snapshot().syncs, 1);
        assert_eq!(Counters::default().snapshot().sync_p99, Duration::ZERO);
    }
}
