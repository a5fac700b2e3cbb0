//! From a node that does not lead to the one that does: one hop, and the answer comes back the same way.
pub mod frame;

use std::sync::Arc;

use tokio::time::Instant;

use crate::{
    Answered, BoxFuture, Failed, Incoming, LeaderInfo, Outgoing, Serve, Transport, TransportError,
    consume::{Consumer, SETTLE},
    endpoint::Server,
    node::NodeInner,
};

/// Hands a request to the leader and brings back its answer. Given to an app with `App::forwarder`; without one
/// the transport does it.
///
/// The request carries everything that its sender gave it, and the time it has left. At the leader it is handed to
/// [`Mediator::handle_forwarded`](crate::Mediator::handle_forwarded), which never forwards it again. Both sides of a
/// wire may use [`frame`](crate::frame):
///
/// ```
/// use bytes::Bytes;
/// use convoke_core::{
///     Answered, BoxFuture, Forwarder, LeaderInfo, Limits, Mediator, Outgoing, TransportError,
///     TransportErrorKind, frame,
/// };
/// use tokio::{sync::{mpsc, oneshot}, time::{Instant, timeout_at}};
///
/// /// Asks through a channel; a gRPC client or a message queue looks the same.
/// struct ByChannel(mpsc::Sender<(Bytes, oneshot::Sender<Bytes>)>);
///
/// impl Forwarder for ByChannel {
///     fn forward<'a>(
///         &'a self,
///         leader: &'a LeaderInfo,
///         request: Outgoing,
///         deadline: Instant,
///     ) -> BoxFuture<'a, Result<Answered, TransportError>> {
///         Box::pin(async move {
///             let request = frame::request(&request)?;
///             let (answer, answered) = oneshot::channel();
///             let away = |_| TransportError::new(TransportErrorKind::Unavailable, leader.to_string());
///             self.0.try_send((request, answer)).map_err(away)?; // certainly not sent: it is tried again
///             match timeout_at(deadline, answered).await {
///                 Err(_) => Err(TransportErrorKind::TimedOut.into()), // it may have run
///                 Ok(Err(_)) => Err(TransportErrorKind::Disconnected.into()), // so it may here
///                 Ok(Ok(answer)) => frame::read_answer(&answer, &Limits::default()),
///             }
///         })
///     }
/// }
///
/// /// The leader's side.
/// async fn answer(mut asked: mpsc::Receiver<(Bytes, oneshot::Sender<Bytes>)>, mediator: Mediator) {
///     while let Some((request, answer)) = asked.recv().await {
///         let mediator = mediator.clone();
///         tokio::spawn(async move {
///             let answered = match frame::read_request(&request, &mediator.limits()) {
///                 Ok(incoming) => mediator.handle_forwarded(incoming).await,
///                 Err(failed) => Answered::Failed(failed),
///             };
///             let _ = answer.send(frame::answer(answered)); // the other side may be gone
///         });
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a forwarder",
    note = "implement `Forwarder` for it: it hands a request to the leader and brings back the answer"
)]
pub trait Forwarder: Send + Sync + 'static {
    /// Asks the leader once and waits for its answer, no longer than the deadline.
    ///
    /// # Errors
    /// `Unavailable` only when the request certainly reached nobody: it is tried again then. `Disconnected` and
    /// `TimedOut` when it may have been carried out.
    fn forward<'a>(
        &'a self,
        leader: &'a LeaderInfo,
        request: Outgoing,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Answered, TransportError>>;
}

/// Asks the leader through the transport that carries everything else.
pub(crate) struct ByTransport(pub(crate) Arc<dyn Transport>);

impl Forwarder for ByTransport {
    fn forward<'a>(
        &'a self,
        leader: &'a LeaderInfo,
        request: Outgoing,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Answered, TransportError>> {
        self.0.request_node(&leader.node, request, deadline)
    }
}

/// What a node answers when another one asks it as the leader.
pub(crate) struct Forwarded(pub(crate) Arc<NodeInner>);

impl Serve for Forwarded {
    fn serve(&self, incoming: Incoming) -> BoxFuture<'static, Answered> {
        let node = self.0.clone();
        Box::pin(async move {
            if &*incoming.name == SETTLE {
                return Consumer::of_forwarded_jobs(&node).settle_forwarded(incoming).await;
            }
            match node.endpoints.get(&*incoming.name).cloned() {
                Some(endpoint) => Server::new(node, endpoint).forwarded(incoming).await,
                None => Answered::Failed(Failed::NoHandler),
            }
        })
    }
}
