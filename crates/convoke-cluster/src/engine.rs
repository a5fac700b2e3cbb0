//! Consensus: the only module that names openraft.

pub(crate) mod calls;
mod disk;
pub(crate) mod door;
mod gate;
mod heard;
pub(crate) mod leading;
pub(crate) mod life;
pub(crate) mod log;
pub(crate) mod net;
pub(crate) mod node;
mod origins;
pub(crate) mod plate;
pub(crate) mod raft;
pub(crate) mod replica;
pub(crate) mod runtime;
pub(crate) mod salvage;
pub(crate) mod snapshot;
pub(crate) mod types;

#[cfg(test)]
mod storage_tests;
