//! Locks that the cluster keeps: leases with a queue and a fence.

mod limits;
pub(crate) mod table;

pub use limits::{LOCKS_MAX, NAME_BYTES_MAX, TTL_MAX, TTL_MIN, WAITERS_MAX};
