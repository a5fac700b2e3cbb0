use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The number of a node in its cluster. Never used again once its node was removed: two nodes under one number
/// could make two majorities.
pub type NodeId = u64;

/// Where a node of the cluster is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The name of its node, as in [`App::node`](convoke_core::App::node). A name may come back under a new number.
    pub name: String,
    /// `host:port` of its Raft listener.
    pub raft: String,
    /// The base URL of its HTTP server, when it has one, such as `http://10.0.0.1:8081`.
    pub http: Option<String>,
    /// What its disk was named when it first took part. A node that comes with another one has forgotten how it voted.
    pub(crate) disk: Option<Uuid>,
}

impl Member {
    /// A node of this name that listens at this `host:port`.
    #[must_use]
    pub fn new(name: impl Into<String>, raft: impl Into<String>) -> Self {
        Self { name: name.into(), raft: raft.into(), http: None, disk: None }
    }

    /// With this base URL of its HTTP server.
    #[must_use]
    pub fn http(mut self, url: impl Into<String>) -> Self {
        self.http = Some(url.into());
        self
    }
}

impl std::fmt::Display for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {}", self.name, self.raft)
    }
}
