//! Requests for the leader from node to node over HTTP, and what a cluster looks like there. Real sockets; who leads is
//! scripted.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "forward/forged.rs"]
mod forged;
#[path = "forward/nodes.rs"]
mod nodes;
#[path = "forward/requests.rs"]
mod requests;
#[path = "forward/shown.rs"]
mod shown;
