//! Convoke on Redis: who runs what, how it ended, and how far each handler has come.
//!
//! ```no_run
//! # async fn start() -> Result<(), convoke_redis::Error> {
//! let stores = convoke_redis::Stores::connect("redis://127.0.0.1:6379").await?;
//! let for_the_app: convoke_core::Stores = stores.clone().into();
//! # Ok(())
//! # }
//! ```
//!
//! Every operation is one Lua script on keys of one hash slot, so it is atomic on a single server and on a Redis
//! Cluster. What Redis itself may lose, such as writes that were not replicated before a fail-over, is lost here too.

mod check;
mod claims;
mod config;
mod connection;
mod error;
mod keys;
mod link;
mod marks;
mod reply;
mod script;
mod stores;
mod waiters;

pub use check::check;
pub use config::Config;
pub use connection::Connection;
pub use error::{Error, ErrorKind};
pub use marks::MARK_BYTES_MAX;
pub use script::Script;
pub use stores::Stores;

/// The client underneath, for the commands given to [`Connection::query`].
pub use redis;

/// What people write, for fuzzers. Not part of the API.
#[doc(hidden)]
pub mod __private {
    /// Checks a configuration.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(config: &crate::Config) -> Result<(), crate::Error> {
        config.validate()
    }
}
