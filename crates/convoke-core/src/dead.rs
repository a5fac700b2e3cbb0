//! Messages that no handler could handle: what is kept of them, and how they come back.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::{Audience, BoxFuture, Incoming, TransportError};

/// A message that no handler could handle.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// The message.
    pub message: Incoming,
    /// The handler that gave up, such as `Orders::on_placed`; empty when no single one did, as for a message
    /// that could not be decoded.
    pub handler: String,
    /// The node it ran on.
    pub node: String,
    /// Who was to handle it, and is again when it is replayed.
    pub audience: Audience,
    /// The error and what caused it.
    pub errors: Vec<String>,
    /// How often it ran and faulted.
    pub attempts: u32,
    /// How often it was replayed before.
    pub replays: u32,
    /// Whether later messages of its key are parked behind it, until it is replayed or dropped.
    pub holds: bool,
}

impl Audience {
    /// The same as one word, of a node.
    pub(crate) fn target(&self, node: &str) -> String {
        match self {
            Self::Group(group) => format!("group.{group}"),
            Self::Jobs => "jobs.all".to_owned(),
            Self::Node | Self::View => format!("node.{node}"),
        }
    }
}

impl DeadLetter {
    /// Whom a replay goes to, as one word of the letter's wire form: `node.<node>`, `group.<group>` or `jobs.all`.
    pub fn target(&self) -> String {
        self.audience.target(&self.node)
    }

    /// Equal for letters that tell of the same failure: a message, who was to handle it, and which of its replays.
    pub fn identity(&self) -> String {
        format!("{}-{}-{}-{}", self.message.envelope.id(), self.target(), self.handler, self.replays)
    }
}

/// What a replayed dead letter says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// The handler it is for; empty for all of its name that have not handled it.
    pub handler: String,
    /// 1 for the first replay of a message.
    pub number: u32,
    /// How long it is to be remembered that it was handled: a letter lives so long.
    pub keep: Duration,
    /// Whether its letter held its key.
    pub holds: bool,
    /// It was dropped: it is not handled, and lets go what is parked behind it.
    pub skip: bool,
}

/// A dead letter where it lies.
#[derive(Debug, Clone)]
pub struct Letter {
    /// Names it in its store; later ones are higher.
    pub number: u64,
    /// When it was stored.
    pub buried_at: SystemTime,
    /// The service whose handler gave up.
    pub service: String,
    /// What is known.
    pub letter: DeadLetter,
}

/// Which letters to list. Nothing set: all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LetterFilter {
    /// Of this service.
    pub service: Option<String>,
    /// Of this wire name.
    pub name: Option<String>,
    /// Of this handler, such as `Orders::on_placed`.
    pub handler: Option<String>,
    /// Of this node.
    pub node: Option<String>,
    /// Buried at least so long ago.
    pub older_than: Option<Duration>,
    /// Buried at most so long ago.
    pub younger_than: Option<Duration>,
}

impl LetterFilter {
    /// All letters.
    pub fn all() -> Self {
        Self::default()
    }
    /// Sets [`service`](Self::service).
    #[must_use]
    pub fn service(mut self, service: impl Into<String>) -> Self {
        self.service = Some(service.into());
        self
    }
    /// Sets [`name`](Self::name).
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }
    /// Sets [`handler`](Self::handler).
    #[must_use]
    pub fn handler(mut self, handler: impl Into<String>) -> Self {
        self.handler = Some(handler.into());
        self
    }
    /// Sets [`node`](Self::node).
    #[must_use]
    pub fn node(mut self, node: impl Into<String>) -> Self {
        self.node = Some(node.into());
        self
    }
    /// Sets [`older_than`](Self::older_than).
    #[must_use]
    pub fn older_than(mut self, age: Duration) -> Self {
        self.older_than = Some(age);
        self
    }
    /// Sets [`younger_than`](Self::younger_than).
    #[must_use]
    pub fn younger_than(mut self, age: Duration) -> Self {
        self.younger_than = Some(age);
        self
    }

    /// Whether a letter is one of these.
    pub fn matches(&self, letter: &Letter) -> bool {
        let same = |wanted: &Option<String>, value: &str| wanted.as_deref().is_none_or(|text| text == value);
        let age = SystemTime::now().duration_since(letter.buried_at).unwrap_or_default();
        same(&self.service, &letter.service)
            && same(&self.name, &letter.letter.message.name)
            && same(&self.handler, &letter.letter.handler)
            && same(&self.node, &letter.letter.node)
            && self.older_than.is_none_or(|least| age >= least)
            && self.younger_than.is_none_or(|most| age <= most)
    }
}

/// Some of the letters, oldest first.
#[derive(Debug, Clone, Default)]
pub struct LetterPage {
    /// At most as many as were asked for, and fewer when the look took long: [`next`](Self::next) tells the end.
    pub letters: Vec<Letter>,
    /// What to ask for next, as `after`. `None`: there are no more.
    pub next: Option<u64>,
}

/// The dead letters of a namespace: to look at, to replay, to drop.
///
/// # Contract
/// - A replay goes to the handler that gave up, and to nobody else: on the node that failed, to one node of the
///   group, to one node of the service whose command it was. It waits for a node that is away.
/// - A replayed letter is gone once its replay is stored. When both happen twice, after a crash or from two callers,
///   the handler completes one run all the same. One that gives up again is a new letter, with one replay more.
pub trait DeadLetters: Send + Sync {
    /// Letters behind the number `after`, at most `limit` of them, of at most 1,000. Start with 0.
    fn list<'a>(
        &'a self,
        filter: &'a LetterFilter,
        after: u64,
        limit: usize,
        by: Instant,
    ) -> BoxFuture<'a, Result<LetterPage, TransportError>>;
    /// One letter with everything in it. `None`: there is none of this number.
    fn show(&self, number: u64, by: Instant) -> BoxFuture<'_, Result<Option<Letter>, TransportError>>;
    /// Hands the message to whom gave it up, and takes the letter away. `false`: there is none of this number.
    fn replay(&self, number: u64, by: Instant) -> BoxFuture<'_, Result<bool, TransportError>>;
    /// Takes a letter away for good. `false`: there is none of this number.
    fn discard(&self, number: u64, by: Instant) -> BoxFuture<'_, Result<bool, TransportError>>;
}

/// The most letters on one page.
pub const LETTER_PAGE_MAX: usize = 1000;
