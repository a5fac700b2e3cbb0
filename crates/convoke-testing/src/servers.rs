//! Real `nats-server`, `redis-server`, `haproxy` and `nginx` processes for tests.
//!
//! Each fixture starts its own server on a free loopback port with its own directory, can be killed, stopped and
//! restarted like a real one, and is gone when the value is dropped or the test process ends, however it ends.
//!
//! ```no_run
//! # async fn test() {
//! use convoke_testing::servers::NatsServer;
//!
//! let Some(nats) = NatsServer::start_or_skip("events survive a restart").await else { return };
//! nats.restart().await.expect("it comes back on the same port with the same store");
//! # }
//! ```
//!
//! The programs are looked for in the environment (`NATS_SERVER`, `REDIS_SERVER`, `HAPROXY`, `NGINX`), in `target/tools`
//! of the workspace (where `scripts/get-servers.sh` puts them) and in `PATH`. Without one, `start_or_skip` prints `skipped: ..`; with
//! `CI` or `CONVOKE_REQUIRE_SERVERS=1` in the environment it panics instead, so that a skip cannot pass for a success.

mod binary;
mod certificates;
mod error;
mod haproxy;
mod instance;
mod nats;
mod nats_cluster;
mod nginx;
mod port;
mod process;
mod redis;
mod skip;

pub use certificates::Certificates;
pub use error::{Error, ErrorKind};
pub use haproxy::Haproxy;
pub use nats::{NatsBuilder, NatsServer};
pub use nats_cluster::NatsCluster;
pub use nginx::Nginx;
pub use port::free as free_port;
pub use process::resident_bytes;
pub use redis::{RedisBuilder, RedisServer};
pub(crate) use skip::servers_required;

use std::path::PathBuf;

/// The files of a server's TLS set-up.
#[derive(Debug, Clone)]
struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    authority: PathBuf,
    verify_clients: bool,
}
