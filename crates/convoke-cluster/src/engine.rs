//! Consensus: the only module that names openraft.

pub(crate) mod types;
