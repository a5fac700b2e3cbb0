mod export;

use std::time::Duration;

use crate::NodeId;

pub(crate) use export::export;

/// What a node of a cluster does, at one moment. The counts begin with the node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// The node's number, once it has its place.
    pub node_id: Option<NodeId>,
    /// What it is in its cluster.
    pub standing: Standing,
    /// The latest term it knows.
    pub term: u64,
    /// Who leads, as far as it knows.
    pub leader: Option<NodeId>,
    /// Changes of leaders it has seen.
    pub leader_changes: u64,
    /// The last entry of its log.
    pub last: u64,
    /// The last entry that it knows a majority has.
    pub committed: u64,
    /// The last entry that its copy of the state has.
    pub applied: u64,
    /// The last entry that its snapshot covers.
    pub snapshot: u64,
    /// The last entry that was removed from its log.
    pub purged: u64,
    /// The others, as the leader sees them. Empty elsewhere.
    pub followers: Vec<FollowerMetrics>,
    /// Entries it wrote to its disk.
    pub entries_written: u64,
    /// Bytes it wrote to its log.
    pub log_bytes_written: u64,
    /// Entries that were acknowledged and are not on the disk.
    pub entries_unsynced: u64,
    /// Syncs of its log.
    pub syncs: u64,
    /// What they took together.
    pub sync_time: Duration,
    /// Half of them took no longer, to a factor of two.
    pub sync_p50: Duration,
    /// All but one in a hundred took no longer, to a factor of two.
    pub sync_p99: Duration,
    /// What the longest of them took.
    pub sync_max: Duration,
    /// Snapshots it made.
    pub snapshots_built: u64,
    /// Snapshots its state came from: its own at the start, and another member's when its log could not catch up.
    pub snapshots_installed: u64,
    /// What the last one took.
    pub snapshot_build_time: Duration,
    /// How long its snapshot is.
    pub snapshot_bytes: u64,
}

/// What a node is in its cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Standing {
    /// It has no place yet, or it stopped.
    #[default]
    Away,
    /// It follows, and does not vote.
    Learner,
    /// It follows.
    Follower,
    /// It stands for election.
    Candidate,
    /// It leads.
    Leader,
}

/// A member, as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FollowerMetrics {
    /// Its number.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// So many entries it lacks.
    pub lag: u64,
    /// When it last answered. `None` when it never did.
    pub heard: Option<Duration>,
}
