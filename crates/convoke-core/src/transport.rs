//! What a transport carries, and what it promises.

use std::{any::Any, fmt, sync::Arc, time::SystemTime};

use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    BoxError, BoxFuture, DeadLetter, DeadLetters, Envelope, Failed, MessageKind, Parking, Payload, Replay,
};

/// Carries messages between nodes. One value belongs to one node.
///
/// # Contract
/// - No call waits beyond the deadline it is given, also while the broker is away.
/// - `request` reaches one member of the queue group (or the named node) at most once per call. Its error says
///   whether the message may have reached anybody.
/// - `publish` returns when the broker has stored the message; a message whose id was stored within the
///   duplicate window is not stored again.
/// - A consumer calls [`Consume::consume`] in stream order and does not wait for the returned future before
///   the next call, within its bound of messages in flight. What was not settled is delivered again, also after
///   a crash.
/// - `open` refuses what is wrong for good, and returns while the broker is unreachable: connecting goes on in
///   the background, and [`Transport::health`] tells.
pub trait Transport: Send + Sync + 'static {
    /// What it is.
    fn capability(&self) -> Capability;
    /// Announces the node, refuses a second live node with its id, declares streams.
    fn open<'a>(&'a self, node: &'a NodeIdentity) -> BoxFuture<'a, Result<(), TransportError>>;
    /// Asks one node and waits for its answer.
    fn request(
        &self,
        message: Outgoing,
        deadline: Instant,
    ) -> BoxFuture<'_, Result<Answered, TransportError>>;
    /// Stores an event for everybody who handles it.
    fn publish(&self, message: Outgoing, deadline: Instant)
    -> BoxFuture<'_, Result<Receipt, TransportError>>;
    /// Stores a command until one node of the service that handles it has settled it; handed over from `due` on,
    /// at once without it. Refuses more than it may hold.
    fn enqueue(
        &self,
        message: Outgoing,
        due: Option<SystemTime>,
        deadline: Instant,
    ) -> BoxFuture<'_, Result<Receipt, TransportError>>;
    /// Takes back an enqueued command that is not due yet. `false`: there is none of this id, or it was handed
    /// over.
    fn cancel(&self, id: Uuid, deadline: Instant) -> BoxFuture<'_, Result<bool, TransportError>>;
    /// Keeps a message that no handler could handle, with what is known about it.
    fn bury(&self, letter: DeadLetter, deadline: Instant) -> BoxFuture<'_, Result<(), TransportError>>;
    /// What was buried, to look at and to replay. `None`: this transport keeps it out of reach.
    fn dead_letters(&self) -> Option<Arc<dyn DeadLetters>> {
        None
    }
    /// Where messages wait behind a dead letter of their key. `None`: no handler may say `on_dead = "park"`.
    fn parking(&self) -> Option<Arc<dyn Parking>> {
        None
    }
    /// Asks the node of this id, past the queue groups: what one node asks another that leads. Reaches it at most once
    /// per call.
    fn request_node<'a>(
        &'a self,
        node: &'a str,
        message: Outgoing,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Answered, TransportError>> {
        let _ = (message, deadline);
        let text =
            format!("this transport does not reach the node `{node}` by its id: give the app a forwarder");
        Box::pin(std::future::ready(Err(TransportError::new(TransportErrorKind::Refused, text))))
    }
    /// Serves what [`request_node`](Self::request_node) sends to this node, whatever its name, until it leaves.
    fn serve_node(&self, serve: Arc<dyn Serve>) -> BoxFuture<'_, Result<(), TransportError>> {
        drop(serve);
        Box::pin(std::future::ready(Ok(())))
    }
    /// Joins the queue group of a command or a query.
    fn serve(&self, spec: ServeSpec, serve: Arc<dyn Serve>) -> BoxFuture<'_, Result<(), TransportError>>;
    /// Starts a consumer of events.
    fn consume(
        &self,
        spec: ConsumeSpec,
        consume: Arc<dyn Consume>,
    ) -> BoxFuture<'_, Result<(), TransportError>>;
    /// Leaves all groups without losing a request, waits for what runs, hands back what did not start.
    fn leave(&self, deadline: Instant) -> BoxFuture<'_, LeaveReport>;
    /// Sends what is buffered and ends the connection.
    fn close(&self, deadline: Instant) -> BoxFuture<'_, ()>;
    /// Stops the intake at once and waits for nothing: the node was dropped.
    fn abandon(&self);
    /// How it stands now.
    fn health(&self) -> TransportHealth;
    /// What went wrong lately without keeping the node from its work, each as a sentence with what to do.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }
    /// The in-process bus, when this is it: calls then stay typed.
    #[doc(hidden)]
    fn in_process(&self) -> Option<&crate::InProcess> {
        None
    }
}

/// What a transport is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capability {
    /// Its name in logs and health, such as `nats`.
    pub name: &'static str,
    /// Whether it reaches other processes.
    pub networked: bool,
}

/// Who a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeIdentity {
    /// Environment or tenant; the first token of every subject. Default: `convoke`.
    pub namespace: String,
    /// The service, which names the queue groups.
    pub service: String,
    /// Stable over restarts: durable consumers are named after it.
    pub node: String,
}

/// A message on its way out.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Its wire name.
    pub name: &'static str,
    /// What it is.
    pub kind: MessageKind,
    /// The lane of its key, below [`LANES`], or [`LANE_UNKEYED`].
    pub lane: u8,
    /// The content.
    pub payload: Payload,
    /// What travels with it.
    pub envelope: Envelope,
}

/// Number of lanes: keys are hashed onto so many subjects.
pub const LANES: u8 = 64;

/// The lane of messages without a key: there is no order to keep, so they are not spread. A server that filters a
/// stream looks at each of its subjects, and one costs less than 64.
pub const LANE_UNKEYED: u8 = 64;

/// A message as it arrived.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// Its wire name.
    pub name: Arc<str>,
    /// The content.
    pub payload: Payload,
    /// What travelled with it.
    pub envelope: Envelope,
    /// When it arrived, before any queue of ours.
    pub received: Instant,
    /// Where it stands in its stream. `None` for requests.
    pub position: Option<Position>,
}

/// The place of a message in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Tells a stream from another one that was made in its place: its creation time in nanoseconds.
    pub epoch: u64,
    /// Grows by one or more from message to message.
    pub sequence: u64,
}

/// A stored message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Its place in the stream.
    pub sequence: u64,
    /// Whether it was there already.
    pub duplicate: bool,
}

/// How a request ended.
#[derive(Debug)]
pub enum Answered {
    /// With a reply.
    Replied {
        /// The reply.
        payload: Payload,
        /// Whether it was stored by an earlier run.
        replayed: bool,
    },
    /// With a refusal of the handler.
    Rejected {
        /// The refusal.
        payload: Payload,
        /// Whether it was stored by an earlier run.
        replayed: bool,
    },
    /// Otherwise.
    Failed(Failed),
}

/// Handles requests that a transport received.
pub trait Serve: Any + Send + Sync {
    /// Handles one request. Never waits in a queue of unbounded length: answers `Overloaded` instead.
    /// The transport may poll the future in its receiving loop once and move it to a task when it is not ready.
    fn serve(&self, incoming: Incoming) -> BoxFuture<'static, Answered>;
}

/// Handles events that a transport received.
pub trait Consume: Send + Sync + 'static {
    /// Handles one event: every local handler, with its retries. Order is taken from the order of the calls.
    fn consume(&self, incoming: Incoming) -> BoxFuture<'static, Settled>;
    /// Handles a dead letter that comes back, by the handler it names. The message is as it was when it was buried,
    /// its position included.
    fn replay(&self, incoming: Incoming, replay: Replay) -> BoxFuture<'static, Settled> {
        drop(replay);
        self.consume(incoming)
    }
    /// All events that were stored when the consumer started have been handled.
    fn caught_up(&self) {}
}

/// What to do with a consumed event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Every handler is done with it, or it lies with the dead letters.
    Done,
    /// Not handled: give it to a node that can, now.
    HandBack,
}

/// A queue group to join.
#[derive(Debug, Clone)]
pub struct ServeSpec {
    /// The wire name.
    pub name: &'static str,
    /// A command or a query.
    pub kind: MessageKind,
    /// Requests that may lie between the socket and the handler before the node answers `Overloaded`.
    pub queue_max: usize,
}

/// A consumer to start.
#[derive(Debug, Clone)]
pub struct ConsumeSpec {
    /// Who gets each event.
    pub audience: Audience,
    /// The wire names it wants.
    pub names: Vec<&'static str>,
    /// Events handed to [`Consume`] and not settled yet.
    pub in_flight_max: usize,
}

/// Who gets each event, or each enqueued command.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Audience {
    /// This node, also what was published while it was down.
    Node,
    /// One node of a group.
    Group(String),
    /// This node, everything the stream holds, at every start.
    View,
    /// One node of the service: enqueued commands, each removed when it is settled.
    Jobs,
}

/// What happened to the work in hand when a node left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LeaveReport {
    /// Requests and events that were finished.
    pub finished: u64,
    /// Events given back for another node, or for this one later.
    pub handed_back: u64,
    /// Requests and events that the deadline cut off.
    pub lost: u64,
    /// Messages that the service's outbox still holds, for its other nodes or for this one later. None is lost.
    pub waiting: u64,
}

/// How a transport stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransportHealth {
    /// Connected, declared and consuming.
    Up,
    /// Not now; it comes back by itself. What to do, as a sentence.
    Down(String),
    /// For good: the node should end with this sentence.
    Failed(String),
}

/// A transport operation failed.
#[derive(Debug)]
pub struct TransportError {
    kind: TransportErrorKind,
    source: Option<BoxError>,
}

/// What a caller can branch on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransportErrorKind {
    /// Nobody serves the subject. The message reached nobody.
    NoHandler,
    /// The broker is away. The message reached nobody.
    Unavailable,
    /// The connection broke after the message was written: it may have arrived.
    Disconnected,
    /// No answer in time: it may have arrived.
    TimedOut,
    /// The message is larger than the transport takes. It reached nobody.
    TooLarge,
    /// The configuration is wrong for good: credentials, versions, names, limits.
    Refused,
}

impl TransportError {
    /// An error of a kind, with the text or error behind it.
    pub fn new(kind: TransportErrorKind, source: impl Into<BoxError>) -> Self {
        Self { kind, source: Some(source.into()) }
    }
    /// What a caller can branch on.
    pub fn kind(&self) -> TransportErrorKind {
        self.kind
    }
}

impl From<TransportErrorKind> for TransportError {
    fn from(kind: TransportErrorKind) -> Self {
        Self { kind, source: None }
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (TransportErrorKind::Refused, Some(source)) = (self.kind, &self.source) {
            return source.fmt(f); // it is a whole sentence for the operator
        }
        f.write_str(match self.kind {
            TransportErrorKind::NoHandler => "no handler",
            TransportErrorKind::Unavailable => "broker unavailable",
            TransportErrorKind::Disconnected => "connection lost while waiting",
            TransportErrorKind::TimedOut => "no answer in time",
            TransportErrorKind::TooLarge => "message too large",
            TransportErrorKind::Refused => "refused",
        })?;
        self.source.as_ref().map_or(Ok(()), |source| write!(f, ": {source}"))
    }
}

impl std::error::Error for TransportError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}

/// The lane of a key. The same on every node and in every version: FNV-1a, modulo [`LANES`].
///
/// ```
/// assert_eq!(convoke_core::lane_of("order-17"), convoke_core::lane_of("order-17"));
/// assert!(convoke_core::lane_of("order-17") < convoke_core::LANES);
/// ```
pub fn lane_of(key: &str) -> u8 {
    let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    u8::try_from(hash % u64::from(LANES)).expect("less than 64")
}
