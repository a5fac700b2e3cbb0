//! A transport whose every request ends as the test says.

use std::{
    sync::{Arc, Mutex},
    time::SystemTime,
};

use convoke::{
    Answered, App, Capability, Consume, ConsumeSpec, DeadLetter, Failed, LeaveReport, Node, NodeIdentity,
    Outgoing, Receipt, Serve, ServeSpec, Transport, TransportError, TransportErrorKind, TransportHealth,
};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use tokio::time::Instant;
use uuid::Uuid;

/// How a request ends.
pub(crate) type Ending = fn() -> Failed;

pub(crate) struct Scripted {
    ending: Ending,
    health: TransportHealth,
    traces: Traces,
}

/// The trace context each request carried.
pub(crate) type Traces = Arc<Mutex<Vec<Option<String>>>>;

/// A node that reaches others only through a script.
pub(crate) async fn start(ending: Ending, health: TransportHealth) -> (Node, Traces) {
    let traces = Traces::default();
    let app = App::new("orders").node("node1").transport(Scripted { ending, health, traces: traces.clone() });
    (app.start().await.expect("the wiring is right"), traces)
}

impl Transport for Scripted {
    fn capability(&self) -> Capability {
        Capability { name: "scripted", networked: false }
    }

    fn open<'a>(&'a self, _: &'a NodeIdentity) -> BoxFuture<'a, Result<(), TransportError>> {
        ready(Ok(())).boxed()
    }

    fn request(&self, message: Outgoing, _: Instant) -> BoxFuture<'_, Result<Answered, TransportError>> {
        let trace = message.envelope.traceparent.as_deref().map(str::to_owned);
        self.traces.lock().expect("no test panics with the lock").push(trace);
        ready(Ok(Answered::Failed((self.ending)()))).boxed()
    }

    fn publish(&self, _: Outgoing, _: Instant) -> BoxFuture<'_, Result<Receipt, TransportError>> {
        ready(Err(TransportErrorKind::Unavailable.into())).boxed()
    }

    fn enqueue(
        &self,
        _: Outgoing,
        _: Option<SystemTime>,
        _: Instant,
    ) -> BoxFuture<'_, Result<Receipt, TransportError>> {
        ready(Err(TransportErrorKind::Unavailable.into())).boxed()
    }

    fn cancel(&self, _: Uuid, _: Instant) -> BoxFuture<'_, Result<bool, TransportError>> {
        ready(Err(TransportErrorKind::Unavailable.into())).boxed()
    }

    fn bury(&self, _: DeadLetter, _: Instant) -> BoxFuture<'_, Result<(), TransportError>> {
        ready(Err(TransportErrorKind::Unavailable.into())).boxed()
    }

    fn serve(&self, _: ServeSpec, _: Arc<dyn Serve>) -> BoxFuture<'_, Result<(), TransportError>> {
        ready(Ok(())).boxed()
    }

    fn consume(&self, _: ConsumeSpec, _: Arc<dyn Consume>) -> BoxFuture<'_, Result<(), TransportError>> {
        ready(Ok(())).boxed()
    }

    fn leave(&self, _: Instant) -> BoxFuture<'_, LeaveReport> {
        ready(LeaveReport::default()).boxed()
    }

    fn close(&self, _: Instant) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }

    fn abandon(&self) {}

    fn health(&self) -> TransportHealth {
        self.health.clone()
    }
}
