//! What runs once in the whole cluster: on the leader, from when it leads until it leads no more.
mod runner;
mod state;

use std::{fmt, sync::Arc};

use crate::{BoxError, BoxFuture, Fence, Mediator, node::NodeInner};

pub(crate) use runner::start;
pub(crate) use state::Singletons;
pub use state::{SingletonHealth, SingletonState};

/// Work that one node of a cluster does at a time: the leader. Given to `App::singleton`, as a function or as a type
/// of your own.
///
/// It is dropped when the node leads no more, before another node can lead; so it must not hand its work to tasks
/// that outlive it, and not block its thread. When it fails or panics it is started again after a pause, as long as
/// the node leads. When it ends well it rests until the next term.
///
/// What it writes carries its [`fence`](SingletonContext::fence): a process that was stopped and goes on can
/// run a few instructions before it notices that another node leads, and a store that knows the fence refuses them.
///
/// ```
/// use convoke_core::{App, BoxError, Singleton, SingletonContext};
/// use std::time::Duration;
///
/// /// Deletes what nobody came back for.
/// struct Sweeper { every: Duration }
///
/// impl Singleton for Sweeper {
///     async fn run(&self, cx: SingletonContext) -> Result<(), BoxError> {
///         loop {
///             // store.delete_abandoned(cx.fence()).await?;
///             tokio::time::sleep(self.every).await;
///         }
///     }
/// }
///
/// async fn report(cx: SingletonContext) -> Result<(), std::io::Error> {
///     println!("{} leads as {}", cx.node(), cx.fence());
///     Ok(())
/// }
///
/// let app = App::new("orders")
///     .singleton("sweeper", Sweeper { every: Duration::from_secs(60) })
///     .singleton("report", report)
///     .singleton("hello", async |cx: SingletonContext| println!("{}", cx.name()));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a singleton",
    note = "it is an `async fn(cx: SingletonContext)` that returns nothing or a `Result`, or a type with `impl Singleton`"
)]
pub trait Singleton: Send + Sync + 'static {
    /// Runs on the leader.
    fn run(&self, cx: SingletonContext) -> impl Future<Output = Result<(), BoxError>> + Send;
}

impl<F, Fut> Singleton for F
where
    F: Fn(SingletonContext) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: Ended> + Send,
{
    async fn run(&self, cx: SingletonContext) -> Result<(), BoxError> {
        self(cx).await.ended()
    }
}

/// What a singleton that is a function may return: nothing, or a `Result`.
#[diagnostic::on_unimplemented(
    message = "a singleton returns `()` or a `Result<(), E>`, not `{Self}`",
    note = "the error `E` is any that becomes a `BoxError`"
)]
pub trait Ended: Send {
    /// As a result.
    ///
    /// # Errors
    /// What it failed with.
    fn ended(self) -> Result<(), BoxError>;
}

impl Ended for () {
    fn ended(self) -> Result<(), BoxError> {
        Ok(())
    }
}

impl<E: Into<BoxError> + Send> Ended for Result<(), E> {
    fn ended(self) -> Result<(), BoxError> {
        self.map_err(Into::into)
    }
}

/// What a singleton knows about its run.
pub struct SingletonContext {
    node: Arc<NodeInner>,
    name: Arc<str>,
    fence: Fence,
    attempt: u32,
}

impl SingletonContext {
    /// The name it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id of this node, which leads.
    pub fn node(&self) -> &str {
        &self.node.identity.node
    }

    /// What it runs under: the leader's term, and how far the cluster's log reached when the run began. Hand it to
    /// stores that refuse what comes behind a newer one.
    pub fn fence(&self) -> Fence {
        self.fence
    }

    /// Which run it is in this term, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The handle to this node.
    pub fn mediator(&self) -> Mediator {
        Mediator::of(self.node.clone())
    }
}

impl fmt::Debug for SingletonContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SingletonContext")
            .field("name", &self.name)
            .field("fence", &self.fence)
            .finish_non_exhaustive()
    }
}

/// A singleton without its type.
pub(crate) trait Task: Send + Sync {
    fn run(&self, cx: SingletonContext) -> BoxFuture<'_, Result<(), BoxError>>;
}

impl<S: Singleton> Task for S {
    fn run(&self, cx: SingletonContext) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(Singleton::run(self, cx))
    }
}
