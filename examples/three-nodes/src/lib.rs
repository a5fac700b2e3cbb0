//! A replicated key-value store: one process per node, the cluster within it, and an HTTP API of its own.
//!
//! `three-nodes-embedded --config-path config/n1` runs one node; `make start-cluster` runs three.

pub mod api;
pub mod cli;
pub mod health;
pub mod logging;
mod problem;
pub mod running;
