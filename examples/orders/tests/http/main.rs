//! The three nodes of `orders demo`, asked over real sockets.
mod bad_input;
mod client;
mod guards;
mod idempotency;
mod orders;
mod stopping;
