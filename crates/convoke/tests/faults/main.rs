//! The faults that `TestApp` makes are the ones it was told to make, and what Convoke promises holds under all of
//! them at once.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod kinds;
mod seeds;
mod service;
mod together;
