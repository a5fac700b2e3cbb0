//! Tests for Convoke services and backends: real servers to test against, and what breaks them.

pub mod conformance;
mod eventually;
pub mod proxy;
#[cfg(unix)]
pub mod servers;

pub use eventually::{Condition, EVENTUALLY_WITHIN, eventually, eventually_within};
