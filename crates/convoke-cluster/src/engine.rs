//! Consensus: the only module that names openraft.

pub(crate) mod calls;
pub(crate) mod types;
