//! The in-process bus: queue groups, fan-out, redelivery, deadlines and limits as over a network, in one process.
mod consumer;
mod hub;
mod stores;
mod watch;

use std::{
    any::Any,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::time::{Instant, timeout_at};

use crate::{
    Answered, BoxFuture, Capability, Codec, Consume, ConsumeSpec, DeadLetter, Incoming, LeaveReport,
    NodeIdentity, Outgoing, Payload, Receipt, Serve, ServeSpec, Transport, TransportError,
    TransportErrorKind, TransportHealth, endpoint::Server,
};
use hub::Hub;

pub use stores::{InProcessStores, stores_in_process};
pub use watch::{Bus, Faults};

/// A transport within one process. Nodes whose transports were made from one another share a bus.
///
/// ```
/// # use convoke_core::InProcess;
/// let first = InProcess::new();
/// let second = first.another_node(); // for the second node of this process
/// ```
pub struct InProcess {
    hub: Arc<Hub>,
    node: Mutex<Option<NodeIdentity>>,
}

impl InProcess {
    /// A bus of its own, with one place for a node.
    pub fn new() -> Self {
        Self::on(Arc::new(Hub::default()))
    }

    fn on(hub: Arc<Hub>) -> Self {
        Self { hub, node: Mutex::new(None) }
    }

    /// A place for another node on the same bus.
    #[must_use]
    pub fn another_node(&self) -> Self {
        Self::on(self.hub.clone())
    }

    /// What happens on the bus, for tests.
    pub fn bus(&self) -> Bus {
        Bus::of(self.hub.clone())
    }

    /// Whether everything is encoded, also what stays in this process.
    pub(crate) fn encodes(&self) -> bool {
        self.hub.encodes()
    }

    /// The next member of a queue group, when calls may stay typed.
    pub(crate) fn pick(&self, name: &str) -> Option<Arc<Server>> {
        if self.hub.encodes() {
            return None;
        }
        let serve: Arc<dyn Any + Send + Sync> = self.hub.pick(name)?;
        serve.downcast::<Server>().ok()
    }

    fn identity(&self) -> Option<NodeIdentity> {
        self.node.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Default for InProcess {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for InProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InProcess").field("node", &self.identity()).finish_non_exhaustive()
    }
}

impl Transport for InProcess {
    fn capability(&self) -> Capability {
        Capability { name: "in-process", networked: false }
    }

    fn open<'a>(&'a self, node: &'a NodeIdentity) -> BoxFuture<'a, Result<(), TransportError>> {
        Box::pin(async move {
            if !self.hub.join(&node.node) {
                let text =
                    format!("a node `{}` is on this bus already: give each node its own id", node.node);
                return Err(TransportError::new(TransportErrorKind::Refused, text));
            }
            *self.node.lock().unwrap_or_else(PoisonError::into_inner) = Some(node.clone());
            Ok(())
        })
    }

    fn request(
        &self,
        message: Outgoing,
        deadline: Instant,
    ) -> BoxFuture<'_, Result<Answered, TransportError>> {
        Box::pin(async move {
            let name = message.name;
            let (server, underway) = self.hub.enter(name).ok_or(TransportErrorKind::NoHandler)?;
            let encodes = self.hub.encodes();
            let incoming = arrival(message, encodes)?;
            if encodes {
                self.hub.record(name, incoming.payload.clone());
            }
            // A task of its own: a caller who stops waiting does not cancel the handler.
            let handling = tokio::spawn(async move {
                let answered = server.serve(incoming).await;
                drop(underway);
                answered
            });
            match timeout_at(deadline, handling).await {
                Err(_) => Err(TransportErrorKind::TimedOut.into()),
                Ok(Err(_)) => Err(TransportErrorKind::Disconnected.into()),
                Ok(Ok(answered)) if encodes => encoded_answer(answered),
                Ok(Ok(answered)) => Ok(answered),
            }
        })
    }

    fn publish(&self, message: Outgoing, _: Instant) -> BoxFuture<'_, Result<Receipt, TransportError>> {
        Box::pin(async move { self.hub.publish(message).map_err(TransportError::from) })
    }

    fn bury(&self, letter: DeadLetter, _: Instant) -> BoxFuture<'_, Result<(), TransportError>> {
        Box::pin(async move {
            self.hub.bury(letter);
            Ok(())
        })
    }

    fn serve(&self, spec: ServeSpec, serve: Arc<dyn Serve>) -> BoxFuture<'_, Result<(), TransportError>> {
        Box::pin(async move {
            let node = self.identity().ok_or_else(not_open)?;
            self.hub.serve(spec.name, &node.node, serve);
            Ok(())
        })
    }

    fn consume(
        &self,
        spec: ConsumeSpec,
        consume: Arc<dyn Consume>,
    ) -> BoxFuture<'_, Result<(), TransportError>> {
        Box::pin(async move {
            let node = self.identity().ok_or_else(not_open)?;
            consumer::start(&self.hub, &node, spec, consume);
            Ok(())
        })
    }

    fn leave(&self, deadline: Instant) -> BoxFuture<'_, LeaveReport> {
        Box::pin(async move {
            let Some(node) = self.identity() else { return LeaveReport::default() };
            self.hub.leave(&node.node, deadline).await
        })
    }

    fn close(&self, _: Instant) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn abandon(&self) {
        if let Some(node) = self.identity() {
            self.hub.remove(&node.node);
        }
    }

    fn health(&self) -> TransportHealth {
        TransportHealth::Up
    }

    fn in_process(&self) -> Option<&InProcess> {
        Some(self)
    }
}

fn not_open() -> TransportError {
    TransportError::new(TransportErrorKind::Refused, "the transport was not opened for a node")
}

/// A message as the other side gets it.
fn arrival(message: Outgoing, encodes: bool) -> Result<Incoming, TransportErrorKind> {
    let payload = if encodes {
        let (codec, bytes) =
            message.payload.encoded(Codec::default()).map_err(|_| TransportErrorKind::TooLarge)?;
        Payload::Bytes { codec, bytes }
    } else {
        message.payload
    };
    let name = message.name.into();
    Ok(Incoming { name, payload, envelope: message.envelope, received: Instant::now(), position: None })
}

/// An answer as the caller gets it, after a journey over a wire.
fn encoded_answer(answered: Answered) -> Result<Answered, TransportError> {
    let encode = |payload: Payload| {
        let (codec, bytes) = payload.encoded(Codec::default()).map_err(|_| TransportErrorKind::TooLarge)?;
        Ok::<_, TransportErrorKind>(Payload::Bytes { codec, bytes })
    };
    Ok(match answered {
        Answered::Replied { payload, replayed } => Answered::Replied { payload: encode(payload)?, replayed },
        Answered::Rejected { payload, replayed } => {
            Answered::Rejected { payload: encode(payload)?, replayed }
        }
        Answered::Failed(failed) => Answered::Failed(crate::Failed::from_wire(failed.to_wire())),
    })
}
