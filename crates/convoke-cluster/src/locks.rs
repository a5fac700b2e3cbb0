//! Locks that the cluster keeps: leases with a queue and a fence.
//!
//! A lock is held for as long as it is renewed in time, whoever leads. That is as much as a lock over a network can
//! be: a process that stood still may believe for a moment that it holds what another one got meanwhile. So every
//! holder has a [`fence`](Guard::fence), larger than those of all holders before, and a store that compares it refuses
//! who comes too late: [`Guard::fenced_write`].

mod attempt;
mod fenced;
mod guard;
mod limits;
mod lock;
mod requests;
pub(crate) mod table;

pub use fenced::FencedStore;
pub use guard::Guard;
pub use limits::{LOCKS_MAX, NAME_BYTES_MAX, RELEASE_TIMEOUT, TIMEOUT, TTL, TTL_MAX, TTL_MIN, WAITERS_MAX};
pub use lock::Lock;
pub(crate) use requests::Locks;

#[cfg(test)]
mod tests;
