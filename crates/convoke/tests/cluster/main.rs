//! What is for the leader: handlers, enqueued commands, singletons, and the order of a stop. Who leads is scripted.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod ending;
mod forwarding;
mod jobs;
mod leader;
mod node;
mod singletons;
mod world;
