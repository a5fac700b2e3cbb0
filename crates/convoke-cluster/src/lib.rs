//! Convoke's cluster, embedded in the service: who leads, locks, and a replicated state.
//!
//! The consensus is [openraft](https://docs.rs/openraft)'s, behind types of our own; what is here is everything
//! around it: the log on disk, the wire between members, the replicated state, and what services ask of a cluster.

mod ask;
mod cluster;
mod coding;
mod config;
mod engine;
mod error;
pub mod kv;
mod leadership;
pub mod locks;
mod machine;
mod member;
mod metrics;
mod peer_tls;
mod propose;
mod replicated;
mod secret;
mod sessions;
#[cfg(test)]
mod sim;
#[cfg(test)]
mod test_node;

pub use cluster::{Cluster, MemberInfo, Role};
pub use config::{Config, Durability, Timing};
pub use engine::net::{UPGRADE_PATH, UPGRADE_PROTOCOL};
pub use error::{Error, ErrorKind};
pub use leadership::{Coordinator, CoordinatorHealth, Fence, LeaderInfo, Leadership, NotLeader, Tenure};
pub use machine::{At, Image, StateMachine};
pub use member::{Member, NodeId};
pub use metrics::{FollowerMetrics, Metrics, Standing};
pub use peer_tls::PeerTls;
pub use propose::Consistency;
pub use secret::{Secret, ShortSecret};
