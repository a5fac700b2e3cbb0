//! Convoke on Redis: who runs what, how it ended, how far each handler has come, and what it staged with that.
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
mod commit;
mod config;
mod connection;
mod error;
mod keys;
mod link;
mod marks;
mod outbox;
mod outbox_admin;
mod reply;
mod script;
mod slot;
mod stores;
mod waiters;

pub use check::check;
pub use commit::Commit;
pub use config::Config;
pub use connection::Connection;
pub use error::{Error, ErrorKind};
pub use marks::MARK_BYTES_MAX;
pub use outbox_admin::{OutboxAdmin, OutboxPage, OutboxRow};
pub use script::Script;
pub use slot::Slot;
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
