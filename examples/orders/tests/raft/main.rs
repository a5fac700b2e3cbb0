//! `orders --cluster` and `orders node --cluster` as processes, asked over HTTP.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bus;
mod process;
mod refused;
mod script;
mod three;
