//! Convoke on NATS: requests over core NATS; events, enqueued commands and dead letters over JetStream.
//!
//! ```no_run
//! # async fn start() -> Result<(), convoke_nats::Error> {
//! let transport = convoke_nats::Transport::connect("nats://127.0.0.1:4222").await?;
//! # drop(transport); Ok(())
//! # }
//! ```
//!
//! A [`Transport`] is there before its server: it connects in the background and tells its health. What it needs
//! in the server it declares itself, and refuses to start when what is there differs.
//!
//! | NATS | what for |
//! |---|---|
//! | `<ns>.cmd.<name>`, `<ns>.qry.<name>` | requests; the queue group is the service |
//! | `<ns>.evt.<lane>.<name>` in stream `<NS>_EVENTS` | events |
//! | `<ns>.job.<lane>.<name>` in stream `<NS>_JOBS` | enqueued commands |
//! | `<ns>.sched.<id>` in stream `<NS>_SCHEDULE` | enqueued commands that wait for their time |
//! | `<ns>.due.<lane>.<name>` in stream `<NS>_SCHEDULE` | those whose time has come |
//! | `<ns>.dead.<service>.<name>` in stream `<NS>_DEAD` | dead letters |
//! | `<ns>.replay.<service>.<whom>.<name>` in stream `<NS>_REPLAY` | dead letters on their way back |
//! | `<ns>.park.head.<service>.<whom>.<key>.<name>` in stream `<NS>_PARKED` | which dead letter holds a key |
//! | `<ns>.park.wait.<service>.<whom>.<key>.<name>` in stream `<NS>_PARKED` | what is parked behind it |
//! | the server's `$JS.EVENT.ADVISORY.CONSUMER..` in stream `<NS>_GIVEN_UP` | messages that ended each node that took them |
//! | buckets `<NS>_CLAIMS`, `<NS>_MARKS` | who runs what and how it ended, and how far each node is: [`Stores`] |
//! | `<ns>.node.<node>.ping` | answered by a node that is alive |
//! | `<ns>.members.<service>` | nodes that share groups say that they are there |
//! | bucket `<NS>_NODES` | which run of a node has its id; an older one stops; whose each lane of a group is |
//! | consumer `<service>__jobs` of `<NS>_JOBS` and `<NS>_SCHEDULE` | each command for one node of the service |
//! | consumer `<service>__<node>` | all events for one node, from its first start on |
//! | consumer `<service>__group__<group>` | each event without a key for one node of the group, from the first one on |
//! | consumer `<service>__node__<node>`, `__group__<group>`, `__jobs` of `<NS>_REPLAY` | each dead letter for whom gave it up |
//! | consumer `<service>__group__<group>=<span>=<epoch>` | four lanes of keyed events, for the node whose they are |
//! | consumer `<service>__<node>__view__<run>` | all events for one run of a node, from the first event on |
//!
//! What is in a message besides its content: an id and a deadline in the reply subject of a plain request, the id and
//! the node in the `Nats-Msg-Id` of an event that nothing caused, else the header `Convoke`; `traceparent`; headers
//! of the sender as `x-<name>`; `content-type` when it is not MessagePack. A client that knows none of it can send
//! requests, get replies and publish events.
mod api;
mod check;
mod config;
mod consuming;
mod dead_letters;
mod declare;
mod drift;
mod error;
mod inbox;
mod inline;
mod jitter;
mod lanes;
mod layout;
mod leaving;
mod letter;
mod link;
mod names;
mod net;
mod parking;
mod post;
mod presence;
mod publishing;
mod pulse;
mod records;
mod serving;
mod stores;
mod supervisor;
mod tally;
mod task;
mod transport;
mod troubles;
mod vitals;
mod wire;

/// The client underneath, for what [`Transport::jetstream`] gives.
pub use async_nats;
pub use check::check;
pub use config::{Auth, Config, Dead, Events, Jobs, Tls};
pub use dead_letters::DeadLetters;
pub use error::{Error, ErrorKind};
pub use layout::{LaidConsumer, LaidStream, LaidSubject, Layout, layout};
pub use stores::{MARK_BYTES_MAX, Stores, StoresConfig};
pub use transport::Transport;
pub use troubles::Counters;

/// What strangers send and people write, for fuzzers. Not part of the API.
#[doc(hidden)]
pub mod __private {
    use crate::{Config, Error, wire};

    /// Reads a message in all the ways there are; whether it is a request that is understood.
    pub fn read(message: async_nats::Message) -> bool {
        let read = wire::read(&message);
        if let Ok(read) = &read {
            wire::headers(&read.envelope, read.codec);
        }
        wire::answer::read(message);
        read.is_ok()
    }

    /// Checks a configuration.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(config: &Config) -> Result<(), Error> {
        config.check().map(drop)
    }
}
