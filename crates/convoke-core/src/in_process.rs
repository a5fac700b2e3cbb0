//! The in-process bus: queue groups, fan-out, redelivery, deadlines and limits as over a network, in one process.
mod consumer;
mod hub;
mod lanes;
mod letters;
mod log;
mod seat;
mod stores;
mod watch;

use std::{
    fmt,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use futures_util::FutureExt;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use crate::{
    Answered, BoxFuture, Capability, Codec, Consume, ConsumeSpec, DeadLetter, DeadLetters, Failed, Incoming,
    LeaveReport, NodeIdentity, Outgoing, Parking, Payload, Receipt, Serve, ServeSpec, Settled, Transport,
    TransportError, TransportErrorKind, TransportHealth, endpoint::Server,
};
use hub::{Entered, Hub, MESSAGE_BYTES_MAX};
use seat::Seat;

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
    seat: Mutex<Option<Arc<Seat>>>,
}

impl InProcess {
    /// A bus of its own, with one place for a node.
    pub fn new() -> Self {
        Self::on(Arc::new(Hub::default()))
    }

    fn on(hub: Arc<Hub>) -> Self {
        Self { hub, seat: Mutex::new(None) }
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
    pub(crate) fn pick(&self, name: &str) -> Option<Server> {
        if self.hub.encodes() { None } else { self.hub.pick(name) }
    }

    fn seat(&self) -> Option<Arc<Seat>> {
        self.seat.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The seat of a node that takes work.
    fn open_seat(&self) -> Result<Arc<Seat>, TransportError> {
        self.seat().filter(|seat| seat.is_here()).ok_or_else(|| {
            TransportError::new(TransportErrorKind::Refused, "the transport is not open for a node")
        })
    }

    async fn ask(
        &self,
        message: Outgoing,
        node: Option<&str>,
        deadline: Instant,
    ) -> Result<Answered, TransportError> {
        if deadline <= Instant::now() {
            return Err(TransportErrorKind::TimedOut.into()); // no work is started for a caller who gave up
        }
        let name = message.name;
        let entered = node.map_or_else(|| self.hub.enter(name), |node| self.hub.enter_node(node));
        let Entered { seat, serve, underway } = entered.ok_or(TransportErrorKind::NoHandler)?;
        let encodes = self.hub.encodes();
        let incoming = arrival(message, encodes)?;
        if encodes && node.is_none() {
            self.hub.record(name, incoming.payload.clone());
        }
        // A task of its own: a caller who stops waiting does not cancel the handler.
        let handling = tokio::spawn(async move {
            let handled = AssertUnwindSafe(async { serve.serve(incoming).await }).catch_unwind();
            let handled = seat.unless_cut(handled).await;
            if handled.is_some() {
                seat.count(Settled::Done);
            }
            drop(underway);
            handled
        });
        match timeout_at(deadline, handling).await {
            Err(_) => Err(TransportErrorKind::TimedOut.into()),
            Ok(Ok(Some(Ok(answered)))) if encodes => Ok(encoded_answer(answered)),
            Ok(Ok(Some(Ok(answered)))) => Ok(answered),
            Ok(Ok(Some(Err(_)))) => Ok(Answered::Failed(Failed::fault("the handler panicked"))),
            // cut off: its node left before it was done
            Ok(Ok(None) | Err(_)) => Err(TransportErrorKind::Disconnected.into()),
        }
    }
}

impl Default for InProcess {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for InProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InProcess")
            .field("node", &self.seat().map(|seat| seat.identity.clone()))
            .finish_non_exhaustive()
    }
}

impl Transport for InProcess {
    fn capability(&self) -> Capability {
        Capability { name: "in-process", networked: false }
    }

    fn open<'a>(&'a self, node: &'a NodeIdentity) -> BoxFuture<'a, Result<(), TransportError>> {
        Box::pin(async move {
            let Some(seat) = self.hub.join(node) else {
                let text =
                    format!("a node `{}` is on this bus already: give each node its own id", node.node);
                return Err(TransportError::new(TransportErrorKind::Refused, text));
            };
            *self.seat.lock().unwrap_or_else(PoisonError::into_inner) = Some(seat);
            Ok(())
        })
    }

    fn request(
        &self,
        message: Outgoing,
        deadline: Instant,
    ) -> BoxFuture<'_, Result<Answered, TransportError>> {
        Box::pin(self.ask(message, None, deadline))
    }

    fn request_node<'a>(
        &'a self,
        node: &'a str,
        message: Outgoing,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Answered, TransportError>> {
        Box::pin(self.ask(message, Some(node), deadline))
    }

    fn serve_node(&self, serve: Arc<dyn Serve>) -> BoxFuture<'_, Result<(), TransportError>> {
        Box::pin(async move {
            self.hub.serve_node(self.open_seat()?, serve);
            Ok(())
        })
    }

    fn publish(&self, message: Outgoing, _: Instant) -> BoxFuture<'_, Result<Receipt, TransportError>> {
        Box::pin(async move { self.hub.publish(message).map_err(TransportError::from) })
    }

    fn enqueue(
        &self,
        message: Outgoing,
        due: Option<SystemTime>,
        _: Instant,
    ) -> BoxFuture<'_, Result<Receipt, TransportError>> {
        Box::pin(async move {
            let after =
                due.and_then(|due| due.duration_since(SystemTime::now()).ok()).filter(|d| !d.is_zero());
            let stored = match after {
                Some(after) => self.hub.schedule(message, after),
                None => self.hub.enqueue(message),
            };
            stored.map_err(TransportError::from)
        })
    }

    fn cancel(&self, id: Uuid, _: Instant) -> BoxFuture<'_, Result<bool, TransportError>> {
        Box::pin(async move { Ok(self.hub.cancel(id)) })
    }

    fn bury(&self, letter: DeadLetter, _: Instant) -> BoxFuture<'_, Result<(), TransportError>> {
        Box::pin(async move {
            let seat = self.seat();
            let service = seat.as_ref().map_or("", |seat| seat.identity.service.as_str());
            self.hub.letters.bury(service, letter);
            Ok(())
        })
    }

    fn dead_letters(&self) -> Option<Arc<dyn DeadLetters>> {
        Some(self.bus().letters())
    }

    fn parking(&self) -> Option<Arc<dyn Parking>> {
        let service = self.seat().map_or_else(String::new, |seat| seat.identity.service.clone());
        Some(Arc::new(letters::Lots { hub: self.hub.clone(), service }))
    }

    fn serve(&self, spec: ServeSpec, serve: Arc<dyn Serve>) -> BoxFuture<'_, Result<(), TransportError>> {
        Box::pin(async move {
            self.hub.serve(spec.name, self.open_seat()?, serve);
            Ok(())
        })
    }

    fn consume(
        &self,
        spec: ConsumeSpec,
        consume: Arc<dyn Consume>,
    ) -> BoxFuture<'_, Result<(), TransportError>> {
        Box::pin(async move {
            consumer::start(&self.hub, &self.open_seat()?, spec, consume);
            Ok(())
        })
    }

    fn leave(&self, deadline: Instant) -> BoxFuture<'_, LeaveReport> {
        Box::pin(async move {
            let Some(seat) = self.seat() else { return LeaveReport::default() };
            self.hub.leave(&seat, deadline).await
        })
    }

    fn close(&self, _: Instant) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn abandon(&self) {
        if let Some(seat) = self.seat() {
            self.hub.remove(&seat);
        }
    }

    fn health(&self) -> TransportHealth {
        TransportHealth::Up
    }

    fn in_process(&self) -> Option<&InProcess> {
        Some(self)
    }
}

/// A message as the other side gets it.
fn arrival(message: Outgoing, encodes: bool) -> Result<Incoming, TransportErrorKind> {
    let payload = if encodes {
        let (codec, bytes) =
            message.payload.encoded(Codec::default()).map_err(|_| TransportErrorKind::TooLarge)?;
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(TransportErrorKind::TooLarge);
        }
        Payload::Bytes { codec, bytes }
    } else {
        message.payload
    };
    let name = message.name.into();
    Ok(Incoming { name, payload, envelope: message.envelope, received: Instant::now(), position: None })
}

/// An answer as the caller gets it, after a journey over a wire. The handler ran, so what cannot travel is a fault.
fn encoded_answer(answered: Answered) -> Answered {
    let encode = |payload: Payload| {
        let (codec, bytes) = payload.encoded(Codec::default()).map_err(Failed::fault)?;
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(Failed::fault(format!(
                "the reply has {} bytes, more than the bus carries",
                bytes.len()
            )));
        }
        Ok(Payload::Bytes { codec, bytes })
    };
    let encoded = match answered {
        Answered::Replied { payload, replayed } => {
            encode(payload).map(|payload| Answered::Replied { payload, replayed })
        }
        Answered::Rejected { payload, replayed } => {
            encode(payload).map(|payload| Answered::Rejected { payload, replayed })
        }
        Answered::Failed(failed) => Err(Failed::from_wire(failed.to_wire())),
    };
    encoded.unwrap_or_else(Answered::Failed)
}
