use serde::{Deserialize, Serialize};

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
}

impl std::fmt::Display for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {}", self.name, self.raft)
    }
}
