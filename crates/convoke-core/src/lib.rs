//! The core of Convoke: messages, handlers, behaviours, the mediator, and the traits of transports and stores.
//!
//! It knows no broker and no HTTP. Users take the facade crate `convoke`; backends take this one.

mod app;
mod behavior;
mod behaviors;
mod catalog;
mod codec;
mod config;
mod consume;
mod context;
mod coordinator;
mod dead;
mod description;
pub mod duration;
mod endpoint;
mod envelope;
mod error;
mod extract;
mod finding;
mod forward;
mod handler;
mod in_process;
mod leading;
mod mediator;
mod message;
mod names;
mod node;
mod outcome;
mod parking;
mod payload;
mod profile;
mod registry;
mod relay;
mod singleton;
mod spread;
mod start_error;
mod state;
mod store;
mod tower_bridge;
pub mod trace;
mod transport;
#[cfg(feature = "garde")]
mod validate;
mod wall;

pub use app::{App, BuildError, Built};
pub use behavior::{Answer, Behavior, Delivered, Delivery, Next};
pub use behaviors::{ConcurrencyLimit, Retry, Timeout};
pub use catalog::{Catalog, Expected};
pub use codec::{Codec, CodecError, CodecErrorKind, Limits, fingerprint};
pub use config::Config;
pub use context::Context;
pub use coordinator::{Coordinator, CoordinatorHealth, Fence, LeaderInfo, Leadership, NotLeader, Tenure};
pub use dead::{DeadLetter, DeadLetters, LETTER_PAGE_MAX, Letter, LetterFilter, LetterPage, Replay};
pub use description::{Described, Description, Runs};
pub use envelope::{Envelope, EnvelopeError, Expiry, Headers};
pub use error::{Executed, Failed, SendError, WireFailure};
pub use extract::{Extract, State};
pub use finding::{Finding, Severity};
pub use forward::{Forwarder, frame};
pub use handler::{Handler, HandlerSpec, Handlers, Leader, OnDead, OnStoreError, Options, Service, Sole};
pub use in_process::{Bus, Faults, InProcess, InProcessStores, stores_in_process};
pub use mediator::{Call, Enqueue, Enqueued, Mediator, Publish, Replied, Sending};
pub use message::{Command, Event, Invalid, Kind, Message, MessageKind, Query, Violation, kind};
pub use node::{ClusterHealth, Dependency, Health, Node, StopNotice};
pub use outcome::{Failure, Fault, Handled, Never, Outcome, Rejection};
pub use parking::{PARKED_MAX, Parked, Parking, Place};
pub use payload::{AnswerBody, MessageBody, Payload};
pub use profile::Profile;
pub use registry::Registry;
pub use relay::{OutboxLag, RowInfo};
pub use singleton::{Ended, Singleton, SingletonContext, SingletonHealth, SingletonState};
pub use start_error::{Error, ErrorKind};
pub use state::{Need, Provide, Wiring};
pub use store::{
    Batch, Beside, Claim, ClaimKey, ClaimStore, Claimed, Commit, Committed, Hold, Holder, MarkStore, Outbox,
    OutboxStore, Record, Row, Settle, StoreError, StoreErrorKind, Stored, StoredOutcome, Stores, Taken, Turn,
    Writes,
};
pub use tower_bridge::NextService;
pub use transport::{
    Answered, Audience, Capability, Consume, ConsumeSpec, Incoming, LANE_UNKEYED, LANES, LeaveReport,
    NodeIdentity, Outgoing, Position, Receipt, Serve, ServeSpec, Settled, Transport, TransportError,
    TransportErrorKind, TransportHealth, lane_of,
};

/// What a box around any error is called.
pub type BoxError = Box<dyn std::error::Error + std::marker::Send + Sync>;
/// A future behind one allocation.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + std::marker::Send + 'a>>;

/// Names used by generated code. Not part of the API.
#[doc(hidden)]
pub mod __private {
    pub use crate::catalog::{Entry, MessageEntry};
    pub use crate::handler::{Nth, Slot, SlotOf, Sole};
    pub use crate::message::accepts;
    #[cfg(feature = "garde")]
    pub use crate::validate::garde_validate;
    pub use inventory;
    pub use std::{
        borrow::Cow, boxed::Box, clone::Clone, concat, default::Default, future::Future, module_path,
        option::Option, panic::Location, result::Result, string::ToString, sync::Arc, time::Duration,
    };
}
