use std::fmt;

use serde::{Deserialize, Serialize};

/// Who leads, as one node knows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Leadership {
    /// This node.
    Leader {
        /// Its term. No other node leads in it.
        term: u64,
    },
    /// Another node.
    Follower {
        /// Which one.
        leader: LeaderInfo,
    },
    /// Nobody that this node knows of.
    #[default]
    NoLeader,
}

/// A leader, and where it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaderInfo {
    /// The id of its node, as in [`App::node`](crate::App::node).
    pub node: String,
    /// The base URL of its HTTP server, when it has one, such as `http://10.0.0.1:8081`.
    pub http: Option<String>,
    /// Its term.
    pub term: u64,
}

/// What a leader's work is done under. It grows with each leader and with each confirmation, so a store that
/// remembers the greatest it saw can refuse what a former leader writes late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fence {
    /// The leader's term. Greater than that of every leader before.
    pub term: u64,
    /// How far the cluster's log reached when leadership was confirmed. Never goes back.
    pub index: u64,
}

/// This node does not lead.
#[derive(Debug, Clone, PartialEq, Eq, Default, thiserror::Error)]
#[error("not the leader{}", .leader.as_ref().map(|leader| format!(", ask {leader}")).unwrap_or_default())]
pub struct NotLeader {
    /// Who does, when it is known.
    pub leader: Option<LeaderInfo>,
}

impl Leadership {
    /// The term in which this node leads.
    pub fn term(&self) -> Option<u64> {
        if let Self::Leader { term } = self { Some(*term) } else { None }
    }

    /// Whether this node leads. Not a check: by the time it is looked at another one may lead. Ask
    /// [`Coordinator::confirm`](crate::Coordinator::confirm) before something that only the leader may do.
    pub fn is_leader(&self) -> bool {
        self.term().is_some()
    }

    /// The other node that leads.
    pub fn leader(&self) -> Option<&LeaderInfo> {
        if let Self::Follower { leader } = self { Some(leader) } else { None }
    }
}

impl LeaderInfo {
    /// Where a caller may go instead: the HTTP address, or the node's id when it has none.
    pub fn address(&self) -> &str {
        self.http.as_deref().unwrap_or(&self.node)
    }
}

impl fmt::Display for LeaderInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.node)?;
        self.http.as_ref().map_or(Ok(()), |http| write!(f, " at {http}"))
    }
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.term, self.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_leader_has_the_greater_fence_whatever_its_log() {
        let fences = [(1, 9), (2, 3), (2, 4)].map(|(term, index)| Fence { term, index });
        assert!(fences.is_sorted());
    }

    #[test]
    fn who_is_not_the_leader_says_who_is() {
        let leader = LeaderInfo { node: "n2".to_owned(), http: Some("http://n2:8081".to_owned()), term: 3 };
        assert_eq!(leader.address(), "http://n2:8081");
        assert_eq!(
            NotLeader { leader: Some(leader) }.to_string(),
            "not the leader, ask n2 at http://n2:8081"
        );
        assert_eq!(NotLeader::default().to_string(), "not the leader");
    }
}
