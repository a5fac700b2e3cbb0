use std::borrow::Cow;

use serde::{Serialize, de::DeserializeOwned};

use crate::Never;

/// A command, a query or an event. Derived, not written.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a message",
    label = "not a command, a query or an event",
    note = "add `#[derive(Command)]`, `#[derive(Query)]` or `#[derive(Event)]` to `{Self}`"
)]
pub trait Message: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// Stable name on the wire, such as `orders.place.v1`.
    const NAME: &'static str;
    /// Whether one key is executed once, over all nodes. Only commands can be.
    const IDEMPOTENT: bool = false;
    /// Which of the three kinds this is.
    type Kind: Kind;
    /// What the handler answers. `()` for an event.
    type Reply: Serialize + DeserializeOwned + Send + Sync + 'static;
    /// What the handler refuses with. [`Never`] for an event.
    type Error: std::error::Error + Serialize + DeserializeOwned + Send + Sync + 'static;

    /// Messages with equal keys are handled in order.
    fn key(&self) -> Option<Cow<'_, str>> {
        None
    }

    /// Checks the content before anything is claimed or handled.
    ///
    /// # Errors
    /// Each violation with the path of its field.
    fn validate(&self) -> Result<(), Invalid> {
        Ok(())
    }
}

/// The kind as a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MessageKind {
    /// Changes state.
    Command,
    /// Reads.
    Query,
    /// Happened.
    Event,
}

impl MessageKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Command, Self::Query, Self::Event];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Query => "query",
            Self::Event => "event",
        }
    }
}

/// The kind as a type. Sealed: there are three.
pub trait Kind: sealed::Sealed + 'static {
    /// The same kind as a value.
    const KIND: MessageKind;
}

/// The three kinds, as types.
pub mod kind {
    /// Changes state.
    #[derive(Debug)]
    pub enum Command {}
    /// Reads.
    #[derive(Debug)]
    pub enum Query {}
    /// Happened.
    #[derive(Debug)]
    pub enum Event {}
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::kind::Command {}
    impl Sealed for super::kind::Query {}
    impl Sealed for super::kind::Event {}
}

impl Kind for kind::Command {
    const KIND: MessageKind = MessageKind::Command;
}
impl Kind for kind::Query {
    const KIND: MessageKind = MessageKind::Query;
}
impl Kind for kind::Event {
    const KIND: MessageKind = MessageKind::Event;
}

/// Changes state. Handled once, by one of the nodes that can.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a command",
    label = "expected a command",
    note = "`send` takes a `#[derive(Command)]` type, `query` a `#[derive(Query)]` type, `publish` a `#[derive(Event)]` type"
)]
pub trait Command: Message {}
#[diagnostic::do_not_recommend]
impl<M: Message<Kind = kind::Command>> Command for M {}

/// Reads. Any node answers.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a query",
    label = "expected a query",
    note = "`send` takes a `#[derive(Command)]` type, `query` a `#[derive(Query)]` type, `publish` a `#[derive(Event)]` type"
)]
pub trait Query: Message {}
#[diagnostic::do_not_recommend]
impl<M: Message<Kind = kind::Query>> Query for M {}

/// Happened. Any number of handlers, no answer.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event",
    label = "expected an event",
    note = "`send` takes a `#[derive(Command)]` type, `query` a `#[derive(Query)]` type, `publish` a `#[derive(Event)]` type"
)]
pub trait Event: Message<Reply = (), Error = Never> {}
#[diagnostic::do_not_recommend]
impl<M: Message<Kind = kind::Event, Reply = (), Error = Never>> Event for M {}

/// Which kinds take which option of `#[handler]`. Checked by generated code.
pub mod accepts {
    use super::{Kind, Message, kind};

    /// Events alone take `group`.
    #[diagnostic::on_unimplemented(
        message = "`group` is for events, and `{Self}` is not an event",
        label = "remove `group`: a command or a query is always handled by one node"
    )]
    pub trait Group {}
    #[diagnostic::do_not_recommend]
    impl<M: Message<Kind = kind::Event>> Group for M {}

    /// Events alone take `view`.
    #[diagnostic::on_unimplemented(
        message = "`view` is for events, and `{Self}` is not an event",
        label = "remove `view`: only events are stored, so only events can be replayed"
    )]
    pub trait View {}
    #[diagnostic::do_not_recommend]
    impl<M: Message<Kind = kind::Event>> View for M {}

    /// Commands and queries take `leader`.
    #[diagnostic::on_unimplemented(
        message = "`leader` is for commands and queries, and `{Self}` is an event",
        label = "remove `leader`: use `group = \"..\"` to have one node handle an event"
    )]
    pub trait Leader {}
    #[diagnostic::do_not_recommend]
    impl<M: Message<Kind: Request>> Leader for M {}

    /// The kinds that are answered.
    pub trait Request: Kind {}
    impl Request for kind::Command {}
    impl Request for kind::Query {}

    /// Compiles for events alone.
    pub const fn group<M: Group>() {}
    /// Compiles for events alone.
    pub const fn view<M: View>() {}
    /// Compiles for commands and queries alone.
    pub const fn leader<M: Leader>() {}
}

/// A message whose content breaks its own rules: every violation, with the path of its field.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, thiserror::Error)]
#[error("invalid message: {}", .violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct Invalid {
    /// What is wrong, at most [`Invalid::VIOLATIONS_MAX`] of them.
    pub violations: Vec<Violation>,
}

/// One rule that a field breaks.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Violation {
    /// Path of the field, such as `items[0].quantity`. Empty for the whole message.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.field.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.field, self.message)
        }
    }
}

impl Invalid {
    /// How many violations are reported: the rest would only make an answer long.
    pub const VIOLATIONS_MAX: usize = 32;

    /// One violation.
    ///
    /// ```
    /// let invalid = convoke_core::Invalid::field("items", "must not be empty");
    /// assert_eq!(invalid.to_string(), "invalid message: items: must not be empty");
    /// ```
    pub fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::default().and(field, message)
    }

    /// One more violation; dropped when there are [`Invalid::VIOLATIONS_MAX`] already.
    #[must_use]
    pub fn and(mut self, field: impl Into<String>, message: impl Into<String>) -> Self {
        if self.violations.len() < Self::VIOLATIONS_MAX {
            self.violations.push(Violation { field: field.into(), message: message.into() });
        }
        self
    }
}
