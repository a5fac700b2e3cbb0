//! When a message is given up, and what becomes of those behind it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod parking;
mod policy;
mod world;
