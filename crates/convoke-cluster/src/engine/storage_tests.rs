//! The log, the copy of the state and its snapshots, together as openraft uses them.

pub(crate) mod entries;
mod installing;
mod machine;
mod restart;
mod snapshots;
mod suite;
