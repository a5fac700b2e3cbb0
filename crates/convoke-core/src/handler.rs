use std::{panic::Location, sync::Arc, time::Duration};

use crate::{Context, Message, Outcome, Registry, Wiring};

/// Handles messages of type `M`: commands, queries and events alike.
///
/// `Slot` is [`Sole`] for everything written by hand. Generated code names [`Slot`]`<M, Self, N>` instead, which
/// is [`Sole`] for a command or a query, so that a second method for it does not compile, and a type of its own
/// per method for an event.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not handle `{M}`",
    label = "no handler for `{M}`",
    note = "write `#[handlers] impl {Self} {{ #[handler] async fn ..(&self, message: {M}) -> Outcome<{M}> }}`"
)]
pub trait Handler<M: Message, Slot = Sole>: Send + Sync + 'static {
    /// Handles one message.
    fn handle(&self, message: M, cx: &Context) -> impl Future<Output = Outcome<M>> + Send;
}

/// The only handler of a message in a service.
#[derive(Debug)]
pub enum Sole {}

/// The `N`th method of a service; any number of them may take one event.
#[derive(Debug)]
pub enum Nth<const N: usize> {}

/// Whether the service `Owner` may have several methods for this message. Derived with [`Message`].
///
/// `Owner` is not used; it is what makes coherence look through the projection. In the crate of the service
/// `OrderPlaced: SlotOf<Orders>` names a local type, so no other crate can implement it, and the compiler may
/// tell `Nth<0>` from `Nth<1>` even when message and kinds are foreign. Without it, all slots count as overlapping.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a message",
    label = "not a command, a query or an event",
    note = "add `#[derive(Command)]`, `#[derive(Query)]` or `#[derive(Event)]` to `{Self}`"
)]
pub trait SlotOf<Owner: ?Sized> {
    /// The slot of method number `METHOD`.
    type Slot<const METHOD: usize>: 'static;
}

/// The slot of the `N`th method of `Owner` when it takes an `M`.
pub type Slot<M, Owner, const N: usize> = <M as SlotOf<Owner>>::Slot<N>;

/// A type with a `#[handlers] impl` block.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no handlers",
    label = "this service has no `#[handlers]` block",
    note = "write `#[handlers] impl {Self} {{ .. }}` with one `#[handler]` on each method that takes a message"
)]
pub trait Handlers: Send + Sync + Sized + 'static {
    /// Adds one entry per `#[handler]` method.
    fn register(self: Arc<Self>, registry: &mut Registry);
}

/// A service built from the state of the app. Derived.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a service",
    note = "add `#[derive(Service)]` to `{Self}`, or build it yourself and pass it to `App::service`"
)]
pub trait Service: Handlers {
    /// Clones each field out of the state. `None` when something is missing; `wiring` has noted what.
    fn from_state(wiring: &mut Wiring<'_>) -> Option<Self>;
}

/// One handler as it was written.
#[derive(Debug, Clone, Copy)]
pub struct HandlerSpec {
    /// Type of the service; empty for a free function.
    pub service: &'static str,
    /// Name of the method or function.
    pub method: &'static str,
    /// What `#[handler(..)]` says.
    pub options: Options,
    /// Where it stands.
    pub at: &'static Location<'static>,
}

impl HandlerSpec {
    /// A handler written without the macro.
    ///
    /// ```
    /// # use convoke_core::{HandlerSpec, Options};
    /// let spec = HandlerSpec::new("Orders", "place", Options::DEFAULT);
    /// assert_eq!(spec.title(), "Orders::place");
    /// ```
    #[track_caller]
    pub const fn new(service: &'static str, method: &'static str, options: Options) -> Self {
        Self { service, method, options, at: Location::caller() }
    }

    /// `Orders::place`, or `cancel` for a free function. The handler's name in logs, marks and dead letters.
    pub fn title(&self) -> String {
        if self.service.is_empty() {
            self.method.to_owned()
        } else {
            format!("{}::{}", self.service, self.method)
        }
    }
}

/// The options of one `#[handler]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Events: one node of this group handles each, instead of every node.
    pub group: Option<&'static str>,
    /// Events: fed from the stream's beginning at every start; may not publish or send.
    pub view: bool,
    /// Commands and queries: the leader alone handles them.
    pub leader: Option<Leader>,
    /// How long one run may take. Default: the app's `handler_timeout`, and never beyond the caller's deadline.
    pub timeout: Option<Duration>,
    /// Runs at once on one node. Default: the app's `concurrency`.
    pub concurrency: Option<usize>,
    /// What an idempotent command does when the store is away. Default: refuse.
    pub on_store_error: OnStoreError,
    /// Events and enqueued commands: runs that may fault before the message is a dead letter. Default: the
    /// configuration's `attempts_max`.
    pub attempts: Option<u32>,
    /// The pause after the first faulted run; it doubles with each. Default: the configuration's `backoff`.
    pub backoff: Option<Duration>,
    /// What becomes of later messages of a key whose head is a dead letter. Default: they go on.
    pub on_dead: OnDead,
}

impl Options {
    /// No option given.
    pub const DEFAULT: Self = Self {
        group: None,
        view: false,
        leader: None,
        timeout: None,
        concurrency: None,
        on_store_error: OnStoreError::Refuse,
        attempts: None,
        backoff: None,
        on_dead: OnDead::GoOn,
    };
}

/// What a leader-only handler does on a follower.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leader {
    /// Hands the request to the leader.
    Forward,
    /// Refuses with the leader's address.
    Reject,
}

/// What an idempotent command does when its store cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnStoreError {
    /// The caller gets `Unavailable`; nothing runs.
    Refuse,
    /// The handler runs without a claim: a repeat may run again.
    Proceed,
}

/// What becomes of later messages of a key whose head is a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDead {
    /// They are handled.
    GoOn,
    /// They are parked behind it, at most [`PARKED_MAX`](crate::PARKED_MAX) of them, and handled in order when it was
    /// replayed or dropped. Each keyed message costs a look at the broker.
    Park,
}
