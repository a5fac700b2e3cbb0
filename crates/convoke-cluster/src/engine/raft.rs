use std::sync::Arc;

use openraft::{SnapshotPolicy, StepDownPolicy};

use super::{replica::Replica, types::Types};
use crate::{Config, Durability, Error};

/// The engine of a node.
pub(crate) type Raft<M> = openraft::Raft<Types, Replica<M>>;

/// The entries of one append. What they weigh is limited where they are read and where they are sent.
const ENTRIES_PER_APPEND_MAX: u64 = 1024;
/// How long a snapshot may take from one node to another.
const SNAPSHOT_WITHIN_MS: u64 = 10 * 60 * 1000;
/// So many entries are removed from the log at once, or all between two snapshots where these are fewer.
const PURGE_BATCH_MAX: u64 = 256;

/// A leader that hears no majority is silent for so many of the longest election timeouts, then speaks for as long, and
/// so on: one that is heard and hears nobody would keep the others from electing another. They wait for the lease and a
/// timeout, which is two of them; what is left is for the votes.
const SILENCE: u64 = 3;

/// What openraft is told to do.
pub(crate) fn tuning(config: &Config) -> Result<Arc<openraft::Config>, Error> {
    let timing = &config.timing;
    let millis = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let election_timeout_max = millis(timing.election.1);
    let tuned = openraft::Config {
        cluster_name: config.cluster.clone(),
        heartbeat_interval: millis(timing.heartbeat),
        election_timeout_min: millis(timing.election.0),
        election_timeout_max,
        // A node that was away would raise the term with its first word.
        enable_pre_vote: Some(true),
        quorum_loss_probe_interval: Some(SILENCE * election_timeout_max),
        max_payload_entries: ENTRIES_PER_APPEND_MAX,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(config.snapshot_every),
        // Both exceed the interval between snapshots, or a slow member would be sent one after the other.
        max_in_snapshot_log_to_keep: config.snapshot_every,
        replication_lag_threshold: 3 * config.snapshot_every,
        purge_batch_size: PURGE_BATCH_MAX.min(config.snapshot_every),
        install_snapshot_timeout: SNAPSHOT_WITHIN_MS,
        // A leader that is removed hands over first, after what runs for it has stopped. See `membership`.
        removed_leader_step_down: StepDownPolicy::Never,
        // A member that was away is tried again soon.
        backoff: "50ms 100ms 200ms ...500ms".to_owned(),
        // A term is led by one life of one node: what its last one ran for the leader was cut off, and may have left
        // something behind.
        enable_leader_restore: Some(false),
        // Only where a member may forget what it acknowledged.
        allow_log_reversion: matches!(config.durability, Durability::Batched { .. }).then_some(true),
        ..openraft::Config::default()
    };
    let tuned = tuned.validate().map_err(|error| Error::config(error.to_string()))?;
    Ok(Arc::new(tuned))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timing;

    #[test]
    fn a_leader_that_hears_nobody_is_silent_for_long_enough_to_be_replaced() {
        for timing in [Timing::LAN_FAST, Timing::DEFAULT, Timing::WAN] {
            let tuned = tuning(&Config::new("127.0.0.1:9081").timing(timing)).expect("it is valid");
            let silence = tuned.quorum_loss_probe_interval.expect("it falls silent");
            let until_votes = 2 * tuned.election_timeout_max;
            assert!(silence - until_votes >= tuned.election_timeout_min, "{timing:?}");
        }
    }
}
