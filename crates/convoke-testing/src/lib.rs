//! Tests for Convoke services and backends: real servers to test against, and what breaks them.

mod app;
pub mod conformance;
mod eventually;
pub mod outside;
pub mod proxy;
#[cfg(unix)]
pub mod servers;

pub use app::TestApp;
pub use eventually::{Condition, EVENTUALLY_WITHIN, eventually, eventually_within};
