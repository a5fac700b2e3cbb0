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
mod supervisor;
mod tally;
mod task;
mod transport;
mod vitals;
mod wire;

pub use config::{Auth, Config, Dead, Events, Tls};
pub use error::{Error, ErrorKind};
pub use transport::Transport;
