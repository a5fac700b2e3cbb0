use std::{any::Any, fmt, sync::Arc};

use crate::{AnswerBody, BoxFuture, Context, Failed, MessageBody, MessageKind};

/// One message on its way through the behaviours. Cloning it is cheap.
#[derive(Clone)]
pub struct Delivery {
    pub(crate) body: Arc<dyn MessageBody>,
    pub(crate) cx: Arc<Context>,
}

impl Delivery {
    /// The wire name of the message.
    pub fn name(&self) -> &'static str {
        self.cx.name()
    }
    /// The kind of the message.
    pub fn kind(&self) -> MessageKind {
        self.cx.kind()
    }
    /// What the handler will know about the message.
    pub fn context(&self) -> &Context {
        &self.cx
    }
    /// The message, when it is an `M`.
    pub fn message<M: crate::Message>(&self) -> Option<&M> {
        let any: &dyn Any = &*self.body;
        any.downcast_ref()
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("name", &self.name())
            .field("id", &self.cx.id())
            .finish_non_exhaustive()
    }
}

/// What the handler said: a reply or a refusal.
#[derive(Clone)]
pub struct Answer {
    pub(crate) body: Arc<dyn AnswerBody>,
    /// What a refusal says.
    pub(crate) refusal: Option<Arc<str>>,
}

impl Answer {
    /// Whether the handler refused.
    pub fn is_rejected(&self) -> bool {
        self.refusal.is_some()
    }
    /// What the refusal says, when it is one.
    pub fn refusal(&self) -> Option<&str> {
        self.refusal.as_deref()
    }
    /// The reply or the refusal, when it is a `T`.
    pub fn value<T: 'static>(&self) -> Option<&T> {
        let any: &dyn Any = &*self.body;
        any.downcast_ref()
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_rejected() { "Answer(rejected)" } else { "Answer(replied)" })
    }
}

/// How a delivery ended: replied and refused are both answers, and no behaviour should retry them.
pub type Delivered = Result<Answer, Failed>;

/// Runs around every handler. Implemented by users, with `async fn around(..)`.
///
/// ```
/// use convoke_core::{Behavior, Delivered, Delivery, Next};
///
/// /// Says what is handled.
/// struct Log;
///
/// impl Behavior for Log {
///     async fn around(&self, delivery: Delivery, next: Next<'_>) -> Delivered {
///         let name = delivery.name();
///         let delivered = next.run(delivery).await;
///         println!("{name}: {delivered:?}");
///         delivered
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a behaviour",
    note = "write `impl Behavior for {Self} {{ async fn around(&self, delivery: Delivery, next: Next<'_>) -> Delivered {{ next.run(delivery).await }} }}`, or use `.layer(..)` for a tower layer"
)]
pub trait Behavior: Send + Sync + 'static {
    /// Runs around the handling of one delivery; `next.run(delivery)` is the rest, as often as you like.
    fn around(&self, delivery: Delivery, next: Next<'_>) -> impl Future<Output = Delivered> + Send;
}

/// The rest of the pipeline, lent to a behaviour.
#[derive(Clone, Copy)]
pub struct Next<'a>(pub(crate) &'a Arc<Link>);

impl<'a> Next<'a> {
    /// Runs the rest. Dropping the future cancels the handler.
    pub fn run(self, delivery: Delivery) -> BoxFuture<'a, Delivered> {
        self.0.run(delivery)
    }
}

impl fmt::Debug for Next<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Next")
    }
}

/// One place of a pipeline: a stage and what comes after it, or the handler.
pub(crate) enum Link {
    Stage { stage: Box<dyn Stage>, rest: Arc<Link> },
    Handler(Box<dyn Run>),
}

impl Link {
    pub(crate) fn run(&self, delivery: Delivery) -> BoxFuture<'_, Delivered> {
        match self {
            Self::Stage { stage, rest } => stage.around(delivery, Next(rest)),
            Self::Handler(handler) => handler.run(delivery),
        }
    }
}

/// The handler at the end of a pipeline.
pub(crate) trait Run: Send + Sync {
    fn run(&self, delivery: Delivery) -> BoxFuture<'static, Delivered>;
}

/// A behaviour without its type.
pub(crate) trait Stage: Send + Sync {
    fn around<'a>(&'a self, delivery: Delivery, next: Next<'a>) -> BoxFuture<'a, Delivered>;
}

struct Shared<B>(Arc<B>);

impl<B: Behavior> Stage for Shared<B> {
    fn around<'a>(&'a self, delivery: Delivery, next: Next<'a>) -> BoxFuture<'a, Delivered> {
        Box::pin(self.0.around(delivery, next))
    }
}

/// Puts a stage in front of a handler's pipeline. Called once per handler.
pub(crate) type Wrap = Box<dyn Fn(Arc<Link>) -> Box<dyn Stage> + Send + Sync>;

/// A wrap that shares one behaviour between all handlers.
pub(crate) fn wrap<B: Behavior>(behavior: B) -> Wrap {
    let shared = Arc::new(behavior);
    Box::new(move |_| Box::new(Shared(shared.clone())))
}

/// The pipeline of one handler: the first wrap is the outermost.
pub(crate) fn pipeline(wraps: &[Wrap], handler: Box<dyn Run>) -> Arc<Link> {
    wraps.iter().rev().fold(Arc::new(Link::Handler(handler)), |rest, wrap| {
        Arc::new(Link::Stage { stage: wrap(rest.clone()), rest })
    })
}
