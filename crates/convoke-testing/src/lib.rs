//! Tests for Convoke services and backends: real servers to test against, and what breaks them.

mod app;
pub mod conformance;
#[cfg(unix)]
mod disk;
mod elections;
mod eventually;
mod faults;
pub mod history;
#[cfg(feature = "idempotence")]
mod idempotent;
pub mod outside;
pub mod proxy;
#[cfg(unix)]
pub mod servers;
mod soak;

pub use app::{Setup, TestApp};
#[cfg(unix)]
pub use disk::Disk;
pub use elections::{Elected, Elections};
pub use eventually::{Condition, EVENTUALLY_WITHIN, eventually, eventually_within};
pub use faults::{FAULTS_MAX, Faults, SEED_VARIABLE};
#[cfg(feature = "idempotence")]
pub use idempotent::{Subject, assert_idempotent};
pub use soak::{is_soak, proptest_cases};
