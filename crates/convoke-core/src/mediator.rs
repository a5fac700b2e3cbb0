mod budget;
mod call;
mod enqueue;
mod publish;

use std::{fmt, sync::Arc};

use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    Answered, Command, Envelope, Event, Failed, Health, Incoming, Never, Query, SendError, Serve,
    TransportErrorKind, forward::Forwarded, node::NodeInner,
};

pub(crate) use budget::Budget;
pub use call::{Call, Replied, Sending};
pub use enqueue::{Enqueue, Enqueued};
pub use publish::Publish;

/// A handle to a running node: sends commands, asks queries, publishes events. Cloning it is cheap.
///
/// It has no type parameter, so it goes into any struct of yours.
#[derive(Clone)]
pub struct Mediator {
    pub(crate) node: Arc<NodeInner>,
    within: Option<Within>,
}

/// The handler a mediator was handed to.
#[derive(Clone, Copy)]
struct Within {
    correlation: Option<Uuid>,
    causation: Option<Uuid>,
    deadline: Instant,
    view: bool,
}

impl Mediator {
    pub(crate) fn of(node: Arc<NodeInner>) -> Self {
        Self { node, within: None }
    }

    pub(crate) fn within(
        node: Arc<NodeInner>,
        (correlation, causation): (Option<Uuid>, Option<Uuid>),
        deadline: Instant,
        view: bool,
    ) -> Self {
        Self { node, within: Some(Within { correlation, causation, deadline, view }) }
    }

    /// Sends a command to one of the nodes that handle it, and waits for the outcome.
    ///
    /// An idempotent command is repeated under its key while its outcome is unknown and time is left. Any other
    /// command is repeated only when it certainly did not run, within a budget.
    pub fn send<C: Command>(&self, command: C) -> Call<'_, C> {
        Call::new(self, command, false)
    }

    /// Asks a query: this node when it has the handler, else one that has.
    pub fn query<Q: Query>(&self, query: Q) -> Call<'_, Q> {
        Call::new(self, query, true)
    }

    /// Publishes an event and waits until it is stored. Delivery is at least once: each handler's effect is
    /// kept to once by its mark, not by the transport.
    pub fn publish<E: Event>(&self, event: E) -> Publish<'_, E> {
        Publish::new(self, event)
    }

    /// Stores a command until one of the nodes that handle it has settled it, and returns then: it survives the
    /// caller, and every node. Faulted runs are repeated; what cannot be handled, and a refusal, which here has
    /// nobody to tell, ends with the dead letters.
    ///
    /// Sent and enqueued under one idempotency key, a command runs once.
    pub fn enqueue<C: Command>(&self, command: C) -> Enqueue<'_, C> {
        Enqueue::new(self, command)
    }

    /// Takes back an enqueued command that is not due yet. `false` when there is none of this id, or its time
    /// has come.
    ///
    /// # Errors
    /// `Unavailable` or `TimedOut` when the broker does not answer within the `request_timeout`.
    pub async fn cancel(&self, id: Uuid) -> Result<bool, SendError<Never>> {
        let deadline = self.deadline(Instant::now(), self.node.config.request_timeout);
        let cancelled = tokio::time::timeout_at(deadline, self.node.transport.cancel(id, deadline)).await;
        cancelled
            .unwrap_or(Err(TransportErrorKind::TimedOut.into()))
            .map_err(|error| Failed::from(error).into())
    }

    /// Sends many commands, at most 64 at once, and returns the outcomes in their order.
    ///
    /// Takes anything that can be looped over; for a stream of outcomes see [`Mediator::send_stream`].
    pub async fn send_all<C: Command>(&self, commands: impl IntoIterator<Item = C>) -> Vec<call::Sent<C>> {
        use futures_util::StreamExt;
        let calls = commands.into_iter().map(|command| self.send(command).into_future()).collect::<Vec<_>>();
        futures_util::stream::iter(calls).buffered(SEND_ALL_MAX).collect().await
    }

    /// Sends the commands of a stream, at most `at_once` (up to 1024) at a time; outcomes come in the commands'
    /// order, as a stream, and commands are taken from theirs only as outcomes are taken from it.
    pub fn send_stream<'a, C: Command>(
        &'a self,
        commands: impl futures_util::Stream<Item = C> + Send + 'a,
        at_once: usize,
    ) -> impl futures_util::Stream<Item = call::Sent<C>> + Send + 'a {
        use futures_util::StreamExt;
        commands.map(|command| self.send(command).into_future()).buffered(at_once.clamp(1, SEND_STREAM_MAX))
    }

    /// The id of this node.
    pub fn node(&self) -> &str {
        &self.node.identity.node
    }

    /// The name of the service.
    pub fn service(&self) -> &str {
        &self.node.identity.service
    }

    /// The bounds of what this node decodes, for those who decode on its behalf.
    pub fn limits(&self) -> crate::Limits {
        self.node.config.limits
    }

    /// How this node and what it depends on stand now. Takes at most half a second.
    pub async fn health(&self) -> Health {
        self.node.health().await
    }

    /// Handles a request that another node forwarded to this one as to the leader: what the far side of a
    /// [`Forwarder`](crate::Forwarder) calls. A node that does not lead answers so and hands it no further.
    ///
    /// It runs as a task of its own: whoever stops waiting does not cancel it.
    pub async fn handle_forwarded(&self, request: Incoming) -> Answered {
        let handling = tokio::spawn(Forwarded(self.node.clone()).serve(request));
        handling.await.unwrap_or_else(|error| Answered::Failed(Failed::fault(error)))
    }

    /// An envelope that carries on what led here.
    fn envelope(&self) -> Envelope {
        self.envelope_if_any().map_or_else(Envelope::default, |envelope| *envelope)
    }

    /// The same; `None` when nothing led here.
    fn envelope_if_any(&self) -> Option<Box<Envelope>> {
        let traceparent = crate::trace::current_traceparent();
        if self.within.is_none() && traceparent.is_none() {
            return None;
        }
        let mut envelope = Box::<Envelope>::default();
        envelope.traceparent = traceparent;
        if let Some(within) = &self.within {
            (envelope.correlation, envelope.causation) = (within.correlation, within.causation);
        }
        Some(envelope)
    }

    fn deadline(&self, now: Instant, timeout: std::time::Duration) -> Instant {
        let deadline = now + timeout;
        self.outer_deadline().map_or(deadline, |outer| deadline.min(outer))
    }

    /// The deadline of the handler this mediator was handed to.
    fn outer_deadline(&self) -> Option<Instant> {
        self.within.as_ref().map(|within| within.deadline)
    }

    fn is_view(&self) -> bool {
        self.within.is_some_and(|within| within.view)
    }
}

/// Commands of one `send_all` that are on their way at once.
const SEND_ALL_MAX: usize = 64;

/// Commands of one `send_stream` that may be on their way at once.
const SEND_STREAM_MAX: usize = 1024;

impl fmt::Debug for Mediator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mediator").field("node", &self.node()).finish_non_exhaustive()
    }
}
