use std::{sync::Arc, time::Duration};

use opentelemetry::{
    KeyValue,
    metrics::{AsyncInstrument, Meter},
};

use super::{Metrics, Standing};

/// Where the numbers come from. `None` when the node is gone.
pub(crate) type Source = Arc<dyn Fn() -> Option<Metrics> + Send + Sync>;

/// Tells the numbers of a node to whatever collects OpenTelemetry metrics in this process, for as long as there are
/// any.
pub(crate) fn export(node: &str, source: Source) {
    let meter = opentelemetry::global::meter("convoke-cluster");
    let node = KeyValue::new("convoke.node", node.to_owned());
    let gauge = |name: &'static str, about: &'static str, value: fn(&Metrics) -> u64| {
        let (source, node) = (Arc::clone(&source), node.clone());
        let observe = move |to: &dyn AsyncInstrument<u64>| {
            if let Some(metrics) = source() {
                to.observe(value(&metrics), std::slice::from_ref(&node));
            }
        };
        meter.u64_observable_gauge(name).with_description(about).with_callback(observe).build();
    };
    gauge("convoke.cluster.leads", "1 on the leader", |m| u64::from(m.standing == Standing::Leader));
    gauge("convoke.cluster.term", "the latest term that is known", |m| m.term);
    gauge("convoke.cluster.committed", "the last entry a majority has", |m| m.committed);
    gauge("convoke.cluster.applied", "the last entry the copy has", |m| m.applied);
    gauge("convoke.cluster.snapshot", "the last entry the snapshot covers", |m| m.snapshot);
    gauge("convoke.cluster.snapshot_bytes", "how long the snapshot is", |m| m.snapshot_bytes);
    gauge("convoke.cluster.snapshot_us", "what the last snapshot took", |m| micros(m.snapshot_build_time));
    gauge("convoke.cluster.entries_unsynced", "acknowledged, and not on the disk", |m| m.entries_unsynced);
    gauge("convoke.cluster.sync_p99_us", "the 99th percentile of the log's syncs", |m| micros(m.sync_p99));
    let counter = |name: &'static str, about: &'static str, value: fn(&Metrics) -> u64| {
        let (source, node) = (Arc::clone(&source), node.clone());
        let observe = move |to: &dyn AsyncInstrument<u64>| {
            if let Some(metrics) = source() {
                to.observe(value(&metrics), std::slice::from_ref(&node));
            }
        };
        meter.u64_observable_counter(name).with_description(about).with_callback(observe).build();
    };
    counter("convoke.cluster.leader_changes", "changes of leaders that were seen", |m| m.leader_changes);
    counter("convoke.cluster.entries_written", "entries that were written to the log", |m| m.entries_written);
    counter("convoke.cluster.syncs", "syncs of the log", |m| m.syncs);
    counter("convoke.cluster.sync_time_us", "what they took together", |m| micros(m.sync_time));
    counter("convoke.cluster.snapshots", "snapshots that were made", |m| m.snapshots_built);
    counter("convoke.cluster.snapshots_installed", "snapshots the state came from", |m| {
        m.snapshots_installed
    });
    lags(&meter, &source, &node);
}

/// How far each member is behind, as the leader sees it.
fn lags(meter: &Meter, source: &Source, node: &KeyValue) {
    let (source, node) = (Arc::clone(source), node.clone());
    let observe = move |to: &dyn AsyncInstrument<u64>| {
        for follower in source().into_iter().flat_map(|metrics| metrics.followers) {
            to.observe(follower.lag, &[node.clone(), KeyValue::new("convoke.follower", follower.name)]);
        }
    };
    let gauge = meter.u64_observable_gauge("convoke.cluster.follower_lag");
    gauge.with_description("entries that a member lacks").with_callback(observe).build();
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
