//! Convoke on NATS.
mod api;
mod config;
mod consuming;
mod declare;
mod drift;
mod error;
mod inbox;
mod inline;
mod jitter;
mod link;
mod names;
mod post;
mod presence;
mod publishing;
mod serving;
mod stores;
mod supervisor;
mod tally;
mod task;
mod transport;
mod vitals;
mod wire;

/// The client underneath, for what [`Transport::jetstream`] gives.
pub use async_nats;
pub use config::{Auth, Config, Dead, Events, Tls};
pub use error::{Error, ErrorKind};
pub use stores::{MARK_BYTES_MAX, Stores, StoresConfig};
pub use transport::Transport;
