use super::{Cluster, Inner};
use crate::{
    Metrics, StateMachine,
    engine::{log::Log, snapshot::Snapshots},
};

/// What counts on its own.
#[derive(Debug, Clone)]
pub(super) struct Gauges {
    pub(super) log: Log,
    pub(super) snapshots: Snapshots,
}

impl<M: StateMachine> Cluster<M> {
    /// What this node does, now.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.inner.metrics()
    }
}

impl<M: StateMachine> Inner<M> {
    pub(super) fn metrics(&self) -> Metrics {
        let mut metrics = self.running().map(|node| node.metrics()).unwrap_or_default();
        let (log, snapshots) = (self.gauges.log.metrics(), self.gauges.snapshots.metrics());
        metrics.entries_written = log.entries;
        metrics.log_bytes_written = log.bytes;
        metrics.entries_unsynced = log.unsynced;
        metrics.syncs = log.syncs;
        metrics.sync_time = log.sync_time;
        metrics.sync_p50 = log.sync_p50;
        metrics.sync_p99 = log.sync_p99;
        metrics.sync_max = log.sync_time_max;
        metrics.snapshots_built = snapshots.built;
        metrics.snapshots_installed = snapshots.installed;
        metrics.snapshot_build_time = snapshots.last_build;
        metrics.snapshot_bytes = snapshots.bytes;
        metrics
    }
}
