//! What waits behind a dead letter of its key.

use tokio::time::Instant;
use uuid::Uuid;

use crate::{Audience, BoxFuture, DeadLetter, TransportError, fingerprint};

/// Messages of one key that may be parked behind a dead letter; later ones become dead letters themselves.
pub const PARKED_MAX: usize = 1000;

/// Where messages are parked: one key of one handler, for one audience.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// The wire name that the handler takes.
    pub name: String,
    /// Such as `node.<node>`, as [`DeadLetter::target`] says.
    pub target: String,
    /// Of the handler and the key, in 32 letters and digits: keys may be long, and of any characters.
    pub word: String,
}

impl Place {
    pub(crate) fn new(name: &str, audience: &Audience, node: &str, handler: &str, key: &str) -> Self {
        let word = format!("{:032x}", fingerprint(handler, key.as_bytes()));
        Self { name: name.to_owned(), target: audience.target(node), word }
    }
}

/// How a place stands.
#[derive(Debug, Clone, Default)]
pub struct Parked {
    /// The message whose dead letter holds the key.
    pub head: Option<Uuid>,
    /// The first that is parked, and its number; asked for when nothing holds the key.
    pub first: Option<(u64, DeadLetter)>,
}

/// Keeps what is parked, in order, as long as dead letters are kept.
///
/// # Contract
/// - Every call is atomic, survives the node, and is seen by each call after it, of whatever node.
/// - A message that is parked again under its [identity](DeadLetter::identity) is there once, or twice in a row of
///   its own: whoever takes it out tells by a claim.
pub trait Parking: Send + Sync {
    /// How a place stands.
    fn look<'a>(&'a self, place: &'a Place, by: Instant) -> BoxFuture<'a, Result<Parked, TransportError>>;
    /// The dead letter of this message holds the key from now on; `None`: nothing does.
    fn hold<'a>(
        &'a self,
        place: &'a Place,
        head: Option<Uuid>,
        by: Instant,
    ) -> BoxFuture<'a, Result<(), TransportError>>;
    /// Puts a message at the end. `false`: there are [`PARKED_MAX`], or there is no room at all.
    fn park<'a>(
        &'a self,
        place: &'a Place,
        letter: DeadLetter,
        by: Instant,
    ) -> BoxFuture<'a, Result<bool, TransportError>>;
    /// Takes one away; nothing happens when it is gone.
    fn unpark<'a>(
        &'a self,
        place: &'a Place,
        number: u64,
        by: Instant,
    ) -> BoxFuture<'a, Result<(), TransportError>>;
}
