//! Convoke on NATS.
mod config;
mod error;
mod jitter;
mod link;
mod names;

pub use config::{Auth, Config, Dead, Events, Tls};
pub use error::{Error, ErrorKind};
