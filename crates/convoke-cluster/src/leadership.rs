//! Who leads, in the words of core: what a cluster tells a node.

pub use convoke_core::{Coordinator, CoordinatorHealth, Fence, LeaderInfo, Leadership, NotLeader, Tenure};
