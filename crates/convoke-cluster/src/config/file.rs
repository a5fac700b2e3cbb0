//! How a configuration is written down.

mod lists;
mod times;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::Deserialize;

use self::{lists::texts, times::Election};
use super::{Config, Durability, Timing, check::is_address};
use crate::{Consistency, Error, Member, NodeId, PeerTls, Secret};

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct File {
    #[serde(alias = "Cluster")]
    cluster: ClusterSection,
    #[serde(alias = "Raft")]
    raft: RaftSection,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ClusterSection {
    name: Option<String>,
    #[serde(alias = "node")]
    node_name: Option<String>,
    node_id: Option<NodeId>,
    listen_address: Option<String>,
    advertise_address: Option<String>,
    http_address: Option<String>,
    initial_cluster: Vec<Founder>,
    #[serde(alias = "LocalNodeEndpoint", alias = "localnodeendpoint")]
    local_node_endpoint: Option<String>,
    #[serde(alias = "Members", deserialize_with = "texts")]
    members: Vec<String>,
    #[serde(deserialize_with = "texts")]
    join: Vec<String>,
    secret: Option<Secret>,
    tls: Option<PeerTls>,
    upgraded: Option<bool>,
    preset: Option<String>,
    #[serde(alias = "ElectionTimeout", alias = "electiontimeout")]
    election_timeout: Option<Election>,
    #[serde(alias = "HeartbeatInterval", alias = "heartbeatinterval", deserialize_with = "times::optional")]
    heartbeat_interval: Option<Duration>,
    #[serde(alias = "PersistentStatePath", alias = "persistentstatepath")]
    persistent_state_path: Option<PathBuf>,
    #[serde(deserialize_with = "texts")]
    recover_from: Vec<String>,
    #[serde(alias = "EnableHttpForwarder", alias = "enablehttpforwarder", alias = "enable_http_forwarder")]
    forward: Option<bool>,
    #[serde(alias = "ForwardTimeout", alias = "forwardtimeout", deserialize_with = "times::optional")]
    forward_timeout: Option<Duration>,
    #[serde(deserialize_with = "times::optional")]
    leave_timeout: Option<Duration>,
    command_bytes_max: Option<usize>,
    proposals_max: Option<usize>,
    snapshot_every: Option<u64>,
}

/// One of the members that the cluster begins with.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Founder {
    id: NodeId,
    address: String,
    name: Option<String>,
    http: Option<String>,
    /// Everybody begins as a follower. Read so that files that say it can be used.
    #[serde(default, rename = "role")]
    _role: Option<u8>,
    /// Likewise.
    #[serde(default, rename = "status")]
    _status: Option<u8>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RaftSection {
    read_consistency: ReadSection,
    persistence: PersistenceSection,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ReadSection {
    default_policy: Option<Policy>,
    lease_duration_ms: Option<u64>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
enum Policy {
    #[serde(alias = "linearizable")]
    LinearizableRead,
    #[serde(alias = "lease")]
    LeaseRead,
    #[serde(alias = "eventual")]
    EventualConsistency,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PersistenceSection {
    strategy: Option<Strategy>,
    flush_policy: Option<Flush>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Strategy {
    /// An entry counts when it is in memory, and is synced with others.
    MemFirst,
    /// An entry counts when it is synced.
    DiskFirst,
}

#[derive(Debug, Clone, Copy, Deserialize)]
enum Flush {
    Immediate,
    Batch { threshold: u32, interval_ms: u64 },
}

/// The address of a node in the file: `host:port`, or the URL of its HTTP server, which is then where it is reached.
struct Endpoint {
    raft: String,
    http: Option<String>,
}

impl Endpoint {
    fn of(text: &str) -> Self {
        let url = text.trim_end_matches('/');
        let host = ["http://", "https://"].iter().find_map(|scheme| url.strip_prefix(scheme));
        match host {
            Some(host) => Self { raft: host.to_owned(), http: Some(url.to_owned()) },
            None => Self { raft: text.to_owned(), http: None },
        }
    }
}

impl File {
    /// The configuration it describes.
    ///
    /// # Errors
    /// What contradicts itself, all of it at once.
    pub(super) fn config(self) -> Result<Config, Error> {
        let Self { cluster, raft } = self;
        let mut problems = Vec::new();
        let mut config = Config::new(String::new());
        cluster.place(&mut config, &mut problems);
        cluster.timing(&mut config, &mut problems);
        cluster.rest(&mut config);
        raft.apply(&mut config);
        problems.extend(config.problems());
        if problems.is_empty() { Ok(config) } else { Err(super::check::wrong(&problems)) }
    }
}

impl ClusterSection {
    fn place(&self, config: &mut Config, problems: &mut Vec<String>) {
        config.node_id = self.node_id;
        config.node.clone_from(&self.node_name);
        config.advertise.clone_from(&self.advertise_address);
        config.http.clone_from(&self.http_address);
        config.join.clone_from(&self.join);
        if !self.initial_cluster.is_empty()
            && (self.local_node_endpoint.is_some() || !self.members.is_empty())
        {
            problems.push(
                "both `initial_cluster` and `members` (or `local_node_endpoint`) are given: keep one of them"
                    .to_owned(),
            );
        }
        for founder in &self.initial_cluster {
            let member = Member {
                http: founder.http.clone(),
                ..Member::new(
                    founder.name.clone().unwrap_or_else(|| format!("n{}", founder.id)),
                    &founder.address,
                )
            };
            if config.founders.insert(founder.id, member).is_some() {
                problems.push(format!(
                    "`initial_cluster` has the id {} twice: each member has its own",
                    founder.id
                ));
            }
        }
        self.endpoints(config, problems);
        let own = config.node_id.and_then(|id| config.founders.get(&id)).map(|member| member.raft.clone());
        config.listen = self.listen_address.clone().or(own).unwrap_or_default();
    }

    /// Members without numbers: they are numbered in the order of their addresses, which is the same on each of them.
    fn endpoints(&self, config: &mut Config, problems: &mut Vec<String>) {
        let Some(local) = self.local_node_endpoint.as_deref().map(Endpoint::of) else {
            if !self.members.is_empty() {
                problems.push(
                    "`members` are given without `local_node_endpoint`: say where this node is".to_owned(),
                );
            }
            return;
        };
        if !self.initial_cluster.is_empty() {
            return;
        }
        // URLs are those of HTTP servers: members meet there.
        config.upgraded = local.http.is_some();
        let others = self.members.iter().map(|member| Endpoint::of(member));
        let mut all: BTreeMap<String, Option<String>> =
            others.map(|other| (other.raft, other.http)).collect();
        all.insert(local.raft.clone(), local.http.clone());
        if all.keys().any(|raft| !is_address(raft, false)) {
            problems.push(
                "`local_node_endpoint` and `members` are `host:port` or `http://host:port`, each with its port".to_owned(),
            );
        }
        for (id, (raft, http)) in (1..).zip(all) {
            if raft == local.raft {
                config.node_id.get_or_insert(id);
            }
            config.founders.insert(id, Member { http, ..Member::new(raft.clone(), raft) });
        }
        config.http = config.http.take().or(local.http);
    }

    fn timing(&self, config: &mut Config, problems: &mut Vec<String>) {
        if let Some(preset) = &self.preset {
            match Timing::named(preset) {
                Some(timing) => config.timing = timing,
                None => problems.push(format!(
                    "`preset` is {preset:?}: use `default`, `lan-fast` or `wan`, or `heartbeat_interval` and \
                     `election_timeout`"
                )),
            }
        }
        if let Some(heartbeat) = self.heartbeat_interval {
            config.timing.heartbeat = heartbeat;
        }
        if let Some(Election { from, to }) = self.election_timeout {
            config.timing.election = (from, to);
        }
    }

    fn rest(self, config: &mut Config) {
        fn set<T>(to: &mut T, given: Option<T>) {
            if let Some(given) = given {
                *to = given;
            }
        }
        set(&mut config.cluster, self.name);
        set(&mut config.upgraded, self.upgraded);
        (config.secret, config.tls) = (self.secret, self.tls);
        set(&mut config.forward, self.forward);
        set(&mut config.forward_timeout, self.forward_timeout);
        set(&mut config.leave_timeout, self.leave_timeout);
        set(&mut config.command_bytes_max, self.command_bytes_max);
        set(&mut config.proposals_max, self.proposals_max);
        set(&mut config.snapshot_every, self.snapshot_every);
        config.path = self.persistent_state_path;
        config.recover_from = self.recover_from.into_iter().map(PathBuf::from).collect();
    }
}

impl RaftSection {
    fn apply(&self, config: &mut Config) {
        if let Some(policy) = self.read_consistency.default_policy {
            config.consistency = match policy {
                Policy::LinearizableRead => Consistency::Linearizable,
                Policy::LeaseRead => Consistency::Lease,
                Policy::EventualConsistency => Consistency::Eventual,
            };
        }
        config.lease = self.read_consistency.lease_duration_ms.map(Duration::from_millis);
        config.durability = match (self.persistence.strategy, self.persistence.flush_policy) {
            (Some(Strategy::MemFirst) | None, Some(Flush::Batch { threshold, interval_ms })) => {
                Durability::Batched { threshold, interval: Duration::from_millis(interval_ms) }
            }
            (Some(Strategy::MemFirst), None) => Durability::BATCHED,
            (_, Some(Flush::Immediate)) | (Some(Strategy::DiskFirst) | None, _) => Durability::Sync,
        };
    }
}
