//! Clusters of several nodes in one process, over real connections.

mod support;

mod config;
mod failing;
mod forming;
mod leading;
mod load;
mod measuring;
mod members;
#[cfg(unix)]
mod power;
mod replacing;
mod secrets;
mod wires;
