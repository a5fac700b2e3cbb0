use std::{fmt, sync::Arc, time::SystemTime};

use convoke_core::{
    Answered, Audience, BoxFuture, Capability, Consume, ConsumeSpec, DeadLetter, DeadLetters, InProcess,
    LeaveReport, NodeIdentity, Outgoing, Parking, Receipt, Serve, ServeSpec, Transport, TransportError,
    TransportHealth,
};
use tokio::time::Instant;
use uuid::Uuid;

use super::{Effect, Life, ledger::Stored};
use crate::faults::Deliveries;

/// A transport as one life of a node reaches it.
pub struct OutsideTransport {
    inner: Arc<dyn Transport>,
    life: Arc<Life>,
}

impl OutsideTransport {
    pub(super) fn new(inner: Arc<dyn Transport>, life: Arc<Life>) -> Self {
        Self { inner, life }
    }

    fn remember_lane(&self, message: &Outgoing) {
        if let Some(plan) = self.life.plan() {
            plan.remember_lane(message.envelope.id(), message.lane);
        }
    }

    async fn publish_outside(&self, message: Outgoing, by: Instant) -> Result<Receipt, TransportError> {
        let stored = Stored::of(&message);
        let receipt = self.inner.publish(message, by).await?;
        self.life.add(Effect::Published(stored));
        Ok(receipt)
    }

    async fn enqueue_outside(
        &self,
        message: Outgoing,
        due: Option<SystemTime>,
        by: Instant,
    ) -> Result<Receipt, TransportError> {
        let stored = Stored::of(&message);
        let receipt = self.inner.enqueue(message, due, by).await?;
        self.life.add(Effect::Enqueued(stored));
        Ok(receipt)
    }

    async fn bury_outside(&self, letter: DeadLetter, by: Instant) -> Result<(), TransportError> {
        let (name, id) = (letter.message.name.to_string(), letter.message.envelope.id());
        self.inner.bury(letter, by).await?;
        self.life.add(Effect::Buried { name, id });
        Ok(())
    }
}

impl Transport for OutsideTransport {
    fn capability(&self) -> Capability {
        self.inner.capability()
    }
    fn open<'a>(&'a self, node: &'a NodeIdentity) -> BoxFuture<'a, Result<(), TransportError>> {
        Box::pin(self.life.call("open", self.inner.open(node)))
    }
    fn request(&self, message: Outgoing, by: Instant) -> BoxFuture<'_, Result<Answered, TransportError>> {
        let name = format!("request {}", message.name);
        Box::pin(self.life.try_call(name, Some(by), self.inner.request(message, by)))
    }
    fn publish(&self, message: Outgoing, by: Instant) -> BoxFuture<'_, Result<Receipt, TransportError>> {
        self.remember_lane(&message);
        let name = format!("publish {}", message.name);
        Box::pin(self.life.try_call(name, Some(by), self.publish_outside(message, by)))
    }
    fn enqueue(
        &self,
        message: Outgoing,
        due: Option<SystemTime>,
        by: Instant,
    ) -> BoxFuture<'_, Result<Receipt, TransportError>> {
        self.remember_lane(&message);
        let name = format!("enqueue {}", message.name);
        Box::pin(self.life.try_call(name, Some(by), self.enqueue_outside(message, due, by)))
    }
    fn cancel(&self, id: Uuid, by: Instant) -> BoxFuture<'_, Result<bool, TransportError>> {
        Box::pin(self.life.try_call("cancel", Some(by), self.inner.cancel(id, by)))
    }
    fn bury(&self, letter: DeadLetter, by: Instant) -> BoxFuture<'_, Result<(), TransportError>> {
        let name = format!("bury {}", letter.message.name);
        Box::pin(self.life.try_call(name, Some(by), self.bury_outside(letter, by)))
    }
    fn dead_letters(&self) -> Option<Arc<dyn DeadLetters>> {
        self.inner.dead_letters()
    }
    fn parking(&self) -> Option<Arc<dyn Parking>> {
        self.inner.parking()
    }
    fn request_node<'a>(
        &'a self,
        node: &'a str,
        message: Outgoing,
        by: Instant,
    ) -> BoxFuture<'a, Result<Answered, TransportError>> {
        let name = format!("ask {node} {}", message.name);
        Box::pin(self.life.try_call(name, Some(by), self.inner.request_node(node, message, by)))
    }
    fn serve_node(&self, serve: Arc<dyn Serve>) -> BoxFuture<'_, Result<(), TransportError>> {
        Box::pin(self.life.call("serve by id", self.inner.serve_node(serve)))
    }
    fn serve(&self, spec: ServeSpec, serve: Arc<dyn Serve>) -> BoxFuture<'_, Result<(), TransportError>> {
        let name = format!("serve {}", spec.name);
        Box::pin(self.life.call(name, self.inner.serve(spec, serve)))
    }
    fn consume(
        &self,
        spec: ConsumeSpec,
        consume: Arc<dyn Consume>,
    ) -> BoxFuture<'_, Result<(), TransportError>> {
        let name = format!("consume as {:?}", spec.audience);
        let consume: Arc<dyn Consume> = match self.life.plan() {
            Some(plan) => Arc::new(Deliveries::new(consume, plan.clone(), spec.audience == Audience::View)),
            None => consume,
        };
        Box::pin(self.life.call(name, self.inner.consume(spec, consume)))
    }
    fn leave(&self, by: Instant) -> BoxFuture<'_, LeaveReport> {
        Box::pin(self.life.call("leave", self.inner.leave(by)))
    }
    fn close(&self, by: Instant) -> BoxFuture<'_, ()> {
        Box::pin(self.life.call("close", self.inner.close(by)))
    }
    /// The broker sees the connection end, however the node went.
    fn abandon(&self) {
        self.inner.abandon();
    }
    fn health(&self) -> TransportHealth {
        self.inner.health()
    }
    fn in_process(&self) -> Option<&InProcess> {
        self.inner.in_process()
    }
}

impl fmt::Debug for OutsideTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutsideTransport").field("inner", &self.inner.capability()).finish_non_exhaustive()
    }
}
