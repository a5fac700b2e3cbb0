//! Clusters of several nodes in one process, over real connections.

mod support;

mod book;
mod config;
mod failing;
mod forming;
mod leading;
mod load;
mod measuring;
mod members;
#[cfg(unix)]
mod power;
mod recovering;
mod replacing;
mod secrets;
mod wires;
