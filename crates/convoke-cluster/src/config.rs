mod check;
mod durability;
mod file;
mod read;
#[cfg(test)]
mod tests;
mod timing;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

pub(crate) use check::{FOUNDER_ID_MAX, is_address};
pub use durability::Durability;
pub use timing::Timing;

use crate::{Consistency, Member, NodeId, PeerTls, Secret};

/// How a node takes part in a cluster.
///
/// ```
/// use convoke_cluster::{Config, Member, Timing};
///
/// let config = Config::new("127.0.0.1:9081")
///     .node_id(1)
///     .founder(1, Member::new("n1", "127.0.0.1:9081"))
///     .founder(2, Member::new("n2", "127.0.0.1:9082"))
///     .founder(3, Member::new("n3", "127.0.0.1:9083"))
///     .timing(Timing::LAN_FAST)
///     .persistent("raft-state/n1");
/// assert!(config.check().is_ok());
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// The cluster's name. Nodes of another cluster are refused. Default: `convoke`.
    pub cluster: String,
    /// The name of this node. Default: its name among the founders, else `listen`.
    pub node: Option<String>,
    /// The number of this node among the founders. One that joins later is given its number.
    pub node_id: Option<NodeId>,
    /// `host:port` where other members are heard. Port 0 takes a free one.
    pub listen: String,
    /// `host:port` where other members reach this node, when it is not `listen`: in a container, say.
    pub advertise: Option<String>,
    /// The base URL of this node's HTTP server, for whoever is sent to the leader.
    pub http: Option<String>,
    /// The members the cluster begins with, the same on each of them. Read once, when there is no state yet.
    pub founders: BTreeMap<NodeId, Member>,
    /// Where members of the cluster listen that this node wants to join. It waits until it is added there.
    pub join: Vec<String>,
    /// What all members know and nobody else does, to tell members from others. Default: none.
    pub secret: Option<Secret>,
    /// TLS between members. Default: none.
    pub tls: Option<PeerTls>,
    /// Whether members are reached through their HTTP servers, which hand connections over to
    /// [`Cluster::serve_upgraded`](crate::Cluster::serve_upgraded), instead of a port of the cluster's own.
    /// Default: false.
    pub upgraded: bool,
    /// How fast a lost leader is noticed.
    pub timing: Timing,
    /// Where log and snapshots are kept. Default: nowhere, which is for tests and for what may be lost.
    pub path: Option<PathBuf>,
    /// The folders of stopped members of a cluster whose majority is lost for good. A new cluster, under a new name and
    /// with this node as its only founder, begins with what the best of them has. What others had acknowledged behind
    /// that is lost. Passed over once [`path`](Self::path) holds a state. Default: none.
    pub recover_from: Vec<PathBuf>,
    /// When an entry of the log counts as kept. Default: when it is synced.
    pub durability: Durability,
    /// How fresh reads are that do not say. Default: linearizable.
    pub consistency: Consistency,
    /// How long a leader's lease lasts, at most as long as the election timeout allows, which is the default.
    pub lease: Option<Duration>,
    /// Whether this node takes proposals to the leader, instead of refusing them. Default: true.
    pub forward: bool,
    /// How long a proposal or a read waits that has no deadline of its own. Default: 5 s.
    pub forward_timeout: Duration,
    /// The bytes of one command. Default: 1 MiB.
    pub command_bytes_max: usize,
    /// The proposals of this node under way at once. Default: 16,384.
    pub proposals_max: usize,
    /// A snapshot is made after so many entries, and as many again are kept for members that are behind.
    /// Default: 50,000.
    pub snapshot_every: u64,
    /// How long a node that stops tries to give leadership away. Default: 2 s.
    pub leave_timeout: Duration,
}

impl Config {
    /// A node that is heard at this `host:port`, alone in memory until the rest is said.
    #[must_use]
    pub fn new(listen: impl Into<String>) -> Self {
        Self {
            cluster: "convoke".to_owned(),
            node: None,
            node_id: None,
            listen: listen.into(),
            advertise: None,
            http: None,
            founders: BTreeMap::new(),
            join: Vec::new(),
            secret: None,
            tls: None,
            upgraded: false,
            timing: Timing::DEFAULT,
            path: None,
            recover_from: Vec::new(),
            durability: Durability::Sync,
            consistency: Consistency::Linearizable,
            lease: None,
            forward: true,
            forward_timeout: Duration::from_secs(5),
            command_bytes_max: 1024 * 1024,
            proposals_max: 16_384,
            snapshot_every: 50_000,
            leave_timeout: Duration::from_secs(2),
        }
    }

    /// Where other members reach this node, which listens here.
    pub(crate) fn address(&self, listens: Option<std::net::SocketAddr>) -> String {
        let founder = self.node_id.and_then(|id| self.founders.get(&id));
        let given = self.advertise.clone().or_else(|| founder.map(|member| member.raft.clone()));
        given.unwrap_or_else(|| listens.map_or_else(|| self.listen.clone(), |listens| listens.to_string()))
    }

    /// The name of this node, which is reached at this address.
    pub(crate) fn name(&self, address: &str) -> String {
        let founder = self.node_id.and_then(|id| self.founders.get(&id));
        let given = self.node.clone().or_else(|| founder.map(|member| member.name.clone()));
        given.unwrap_or_else(|| address.to_owned())
    }

    /// Sets [`cluster`](Self::cluster).
    #[must_use]
    pub fn cluster(mut self, name: impl Into<String>) -> Self {
        self.cluster = name.into();
        self
    }

    /// Sets [`node`](Self::node).
    #[must_use]
    pub fn node(mut self, name: impl Into<String>) -> Self {
        self.node = Some(name.into());
        self
    }

    /// Sets [`node_id`](Self::node_id).
    #[must_use]
    pub fn node_id(mut self, id: NodeId) -> Self {
        self.node_id = Some(id);
        self
    }

    /// Sets [`advertise`](Self::advertise).
    #[must_use]
    pub fn advertise(mut self, address: impl Into<String>) -> Self {
        self.advertise = Some(address.into());
        self
    }

    /// Sets [`http`](Self::http).
    #[must_use]
    pub fn http(mut self, url: impl Into<String>) -> Self {
        self.http = Some(url.into());
        self
    }

    /// Adds one of the [`founders`](Self::founders).
    #[must_use]
    pub fn founder(mut self, id: NodeId, member: Member) -> Self {
        self.founders.insert(id, member);
        self
    }

    /// Adds where a member of the cluster listens, to [`join`](Self::join) it.
    #[must_use]
    pub fn join(mut self, address: impl Into<String>) -> Self {
        self.join.push(address.into());
        self
    }

    /// Sets [`secret`](Self::secret).
    #[must_use]
    pub fn secret(mut self, secret: Secret) -> Self {
        self.secret = Some(secret);
        self
    }

    /// Sets [`tls`](Self::tls).
    #[must_use]
    pub fn tls(mut self, tls: PeerTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Sets [`upgraded`](Self::upgraded).
    #[must_use]
    pub fn upgraded(mut self, upgraded: bool) -> Self {
        self.upgraded = upgraded;
        self
    }

    /// Sets [`timing`](Self::timing).
    #[must_use]
    pub fn timing(mut self, timing: Timing) -> Self {
        self.timing = timing;
        self
    }

    /// Keeps log and snapshots in this directory.
    #[must_use]
    pub fn persistent(mut self, path: impl Into<PathBuf>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// Keeps nothing when the process ends. The node then comes back as a new member only.
    #[must_use]
    pub fn in_memory(mut self) -> Self {
        self.path = None;
        self
    }

    /// Adds the folder of a survivor, to [recover from](Self::recover_from).
    #[must_use]
    pub fn recover_from(mut self, folder: impl Into<PathBuf>) -> Self {
        self.recover_from.push(folder.into());
        self
    }

    /// Sets [`durability`](Self::durability).
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Sets [`consistency`](Self::consistency).
    #[must_use]
    pub fn consistency(mut self, consistency: Consistency) -> Self {
        self.consistency = consistency;
        self
    }

    /// Sets [`lease`](Self::lease).
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = Some(lease);
        self
    }

    /// Sets [`forward`](Self::forward).
    #[must_use]
    pub fn forward(mut self, forward: bool) -> Self {
        self.forward = forward;
        self
    }

    /// Sets [`forward_timeout`](Self::forward_timeout).
    #[must_use]
    pub fn forward_timeout(mut self, timeout: Duration) -> Self {
        self.forward_timeout = timeout;
        self
    }

    /// Sets [`command_bytes_max`](Self::command_bytes_max).
    #[must_use]
    pub fn command_bytes_max(mut self, bytes: usize) -> Self {
        self.command_bytes_max = bytes;
        self
    }

    /// Sets [`snapshot_every`](Self::snapshot_every).
    #[must_use]
    pub fn snapshot_every(mut self, entries: u64) -> Self {
        self.snapshot_every = entries;
        self
    }

    /// Sets [`leave_timeout`](Self::leave_timeout).
    #[must_use]
    pub fn leave_timeout(mut self, timeout: Duration) -> Self {
        self.leave_timeout = timeout;
        self
    }
}
