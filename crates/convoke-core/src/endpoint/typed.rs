use std::{marker::PhantomData, panic::AssertUnwindSafe, pin::pin, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio::time::Instant;

use crate::{
    Answer, BoxFuture, CodecError, Context, Delivered, Delivery, Envelope, Failed, Failure, Handler, Limits,
    Message, MessageBody, Payload, SendError,
    behavior::Run,
    context::Until,
    endpoint::{Read, Server, before, panic_text},
    payload::take,
};

/// A handler with its types: the only place that knows both.
pub(crate) struct Typed<M, S, H> {
    handler: Arc<H>,
    types: PhantomData<fn() -> (M, S)>,
}

impl<M, S, H> Typed<M, S, H> {
    pub(crate) fn new(handler: Arc<H>) -> Self {
        Self { handler, types: PhantomData }
    }
}

impl<M, S, H> Clone for Typed<M, S, H> {
    fn clone(&self) -> Self {
        Self::new(self.handler.clone())
    }
}

impl<M: Message, S: 'static, H: Handler<M, S>> Read for Typed<M, S, H> {
    fn read(&self, payload: &Payload, limits: &Limits) -> Result<Arc<dyn MessageBody>, CodecError> {
        let (codec, bytes) = match payload {
            Payload::Message(body) if (&**body as &dyn std::any::Any).is::<M>() => return Ok(body.clone()),
            other => other.encoded(crate::Codec::default())?,
        };
        Ok(Arc::new(codec.decode::<M>(&bytes, limits)?))
    }
}

impl<M: Message, S: 'static, H: Handler<M, S>> Run for Typed<M, S, H> {
    fn run(&self, delivery: Delivery) -> BoxFuture<'static, Delivered> {
        let handler = self.handler.clone();
        Box::pin(async move {
            let Delivery { body, cx } = delivery;
            cx.begin();
            let message =
                take::<M>(body).ok_or_else(|| Failed::fault("a behaviour changed the message's type"))?;
            match handler.handle(message, &cx).await {
                Ok(reply) => Ok(Answer { body: Arc::new(reply), refusal: None }),
                Err(Failure::Rejected(error)) => {
                    let refusal = Some(error.to_string().into());
                    Ok(Answer { body: Arc::new(error), refusal })
                }
                Err(Failure::Faulted(fault)) => Err(Failed::Faulted(fault)),
            }
        })
    }
}

/// How a typed call ends.
pub(crate) type Sent<M> = Result<<M as Message>::Reply, SendError<<M as Message>::Error>>;

/// The way in for a call that stays in the process and meets no behaviour: nothing is encoded, and one box
/// holds the message, the context and the handler's future.
pub(crate) type Direct<M> = fn(Asked, M) -> BoxFuture<'static, Sent<M>>;

/// What a handler in this process is called with. Small, because it is copied into the box: the context is made there.
pub(crate) struct Asked {
    pub(crate) server: Server,
    /// `None`: nothing led here, and nothing was added.
    pub(crate) envelope: Option<Box<Envelope>>,
    pub(crate) limit: Duration,
    pub(crate) outer: Option<Instant>,
}

/// What is behind [`Direct`], for one handler.
pub(crate) fn direct<M: Message, S: 'static, H: Handler<M, S>>(
    asked: Asked,
    message: M,
) -> BoxFuture<'static, Sent<M>> {
    // What is rare has a box of its own: this one stays small.
    Box::pin(async move {
        let Asked { server, envelope, limit, outer } = asked;
        let cx = Context::new(server, envelope, Until::within(limit, outer));
        let endpoint = cx.endpoint();
        let handler = endpoint.handler::<H>().expect("the endpoint was made for this handler");
        let _entered = match endpoint.gate.try_enter() {
            Some(entered) => entered,
            None => Box::pin(endpoint.gate.enter(cx.deadline())).await.map_err(SendError::from)?,
        };
        message.validate().map_err(SendError::Invalid)?;
        cx.begin();
        let run = crate::trace::within(cx.traceparent(), handler.handle(message, &cx));
        let run = AssertUnwindSafe(run).catch_unwind();
        let reply = match before(|| cx.deadline(), pin!(run)).await {
            None => return Err(SendError::TimedOut),
            Some(Err(panic)) => return Err(SendError::Faulted(panic_text(&*panic))),
            Some(Ok(Ok(reply))) => reply,
            Some(Ok(Err(Failure::Rejected(error)))) => return Err(SendError::Rejected(error)),
            Some(Ok(Err(Failure::Faulted(fault)))) => return Err(SendError::Faulted(fault.to_string())),
        };
        if cx.has_staged() {
            endpoint.note_staged();
            let staged = cx.take_staged();
            Box::pin(cx.node_inner().release_staged(staged)).await.map_err(SendError::from)?;
        }
        Ok(reply)
    })
}
