//! Services that talk through messages: *call one node, or call them all*.
//!
//! A **command** is handled once, by one of the nodes that can. A **query** reads, from any node. An **event**
//! reaches every node. Without anything else an app runs in one process; with a transport from `convoke::nats`
//! (feature `nats`) and stores from `convoke::redis` (feature `redis`) the same app runs on many nodes.

pub use convoke_core::*;
pub use convoke_macros::{Command, Event, Query, Service, handler, handlers};

#[cfg(feature = "axum")]
pub use convoke_axum as http;
#[cfg(feature = "cluster")]
pub use convoke_cluster as cluster;
#[cfg(feature = "nats")]
pub use convoke_nats as nats;
#[cfg(feature = "redis")]
pub use convoke_redis as redis;

#[doc(hidden)]
pub use convoke_core::__private;

/// Waits for Ctrl-C or SIGTERM: what `Node::run_until` takes.
///
/// # Panics
/// When the process may not install signal handlers.
pub async fn signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut interrupt = signal(SignalKind::interrupt()).expect("the process may handle SIGINT");
        let mut terminate = signal(SignalKind::terminate()).expect("the process may handle SIGTERM");
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
    #[cfg(not(unix))]
    {
        tokio::signal::ctrl_c().await.expect("the process may handle Ctrl-C");
    }
}

/// The README's program, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
pub struct Readme;

/// The guide's programs, compiled and run.
#[cfg(all(doctest, feature = "nats", feature = "redis"))]
#[doc = include_str!("../../../docs/guide.md")]
pub struct Guide;

/// The chapter on the cluster, compiled.
#[cfg(all(doctest, feature = "axum", feature = "cluster"))]
#[doc = include_str!("../../../docs/guide/cluster.md")]
pub struct GuideToTheCluster;

/// The chapter on testing, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide/testing.md")]
pub struct GuideToTesting;
