use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use convoke::{
    Answered, Audience, BoxFuture, Capability, Consume, ConsumeSpec, DeadLetter, DeadLetters, Incoming,
    LeaveReport, NodeIdentity, Outgoing, Receipt, Replay, Serve, ServeSpec, Settled, Transport,
    TransportError, TransportHealth, nats,
};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::Planted;

/// How long an event that was acknowledged too early lies about before it is handled: a kill finds some.
const LIES_ABOUT: Duration = Duration::from_secs(1);

/// NATS with one thing wrong.
pub(super) struct PlantedTransport {
    inner: Arc<nats::Transport>,
    planted: Planted,
}

impl PlantedTransport {
    pub(super) fn around(transport: nats::Transport, planted: Planted) -> Self {
        Self { inner: Arc::new(transport), planted }
    }
}

impl Transport for PlantedTransport {
    fn publish(&self, message: Outgoing, by: Instant) -> BoxFuture<'_, Result<Receipt, TransportError>> {
        if self.planted != Planted::EventsOverCore {
            return self.inner.publish(message, by);
        }
        let inner = Arc::clone(&self.inner);
        tokio::spawn(async move { inner.publish(message, by).await }); // who knows
        Box::pin(async { Ok(Receipt { sequence: 0, duplicate: false }) })
    }
    fn consume(
        &self,
        spec: ConsumeSpec,
        consume: Arc<dyn Consume>,
    ) -> BoxFuture<'_, Result<(), TransportError>> {
        if self.planted == Planted::AckBeforeCommit && spec.audience == Audience::Node {
            return self.inner.consume(spec, Arc::new(Early(consume)));
        }
        self.inner.consume(spec, consume)
    }
    fn capability(&self) -> Capability {
        self.inner.capability()
    }
    fn open<'a>(&'a self, node: &'a NodeIdentity) -> BoxFuture<'a, Result<(), TransportError>> {
        self.inner.open(node)
    }
    fn request(&self, message: Outgoing, by: Instant) -> BoxFuture<'_, Result<Answered, TransportError>> {
        self.inner.request(message, by)
    }
    fn enqueue(
        &self,
        message: Outgoing,
        due: Option<SystemTime>,
        by: Instant,
    ) -> BoxFuture<'_, Result<Receipt, TransportError>> {
        self.inner.enqueue(message, due, by)
    }
    fn cancel(&self, id: Uuid, by: Instant) -> BoxFuture<'_, Result<bool, TransportError>> {
        self.inner.cancel(id, by)
    }
    fn bury(&self, letter: DeadLetter, by: Instant) -> BoxFuture<'_, Result<(), TransportError>> {
        self.inner.bury(letter, by)
    }
    fn dead_letters(&self) -> Option<Arc<dyn DeadLetters>> {
        self.inner.dead_letters()
    }
    fn serve(&self, spec: ServeSpec, serve: Arc<dyn Serve>) -> BoxFuture<'_, Result<(), TransportError>> {
        self.inner.serve(spec, serve)
    }
    fn leave(&self, by: Instant) -> BoxFuture<'_, LeaveReport> {
        self.inner.leave(by)
    }
    fn close(&self, by: Instant) -> BoxFuture<'_, ()> {
        self.inner.close(by)
    }
    fn abandon(&self) {
        self.inner.abandon();
    }
    fn health(&self) -> TransportHealth {
        self.inner.health()
    }
}

/// Says that an event is done, and handles it later.
struct Early(Arc<dyn Consume>);

impl Consume for Early {
    fn consume(&self, incoming: Incoming) -> BoxFuture<'static, Settled> {
        let handled = self.0.consume(incoming);
        tokio::spawn(async move {
            sleep(LIES_ABOUT).await;
            handled.await
        });
        Box::pin(async { Settled::Done })
    }
    fn replay(&self, incoming: Incoming, replay: Replay) -> BoxFuture<'static, Settled> {
        self.0.replay(incoming, replay)
    }
    fn caught_up(&self) {
        self.0.caught_up();
    }
}
