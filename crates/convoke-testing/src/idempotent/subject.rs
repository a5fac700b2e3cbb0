use std::{fmt, pin::Pin, sync::Arc};

use convoke_core::App;

/// What [`assert_idempotent`](crate::assert_idempotent) tries: an app, the world that outlives its nodes, and what to
/// look at in the end.
pub struct Subject<W> {
    pub(super) world: Box<dyn Fn() -> W + Send + Sync>,
    pub(super) app: Box<dyn Fn(&W) -> App + Send + Sync>,
    pub(super) probe: Box<Probe<W>>,
}

/// Shows the world.
pub(super) type Probe<W> = dyn for<'a> Fn(&'a W) -> Shown<'a> + Send + Sync;
/// The text of it.
pub(super) type Shown<'a> = Pin<Box<dyn Future<Output = String> + 'a>>;

impl<W: 'static> Subject<W> {
    /// `world` is made once for each run: databases and the like, as test doubles. `app` is made of it once for each
    /// life of the node; what it makes itself dies with the node.
    pub fn new(
        world: impl Fn() -> W + Send + Sync + 'static,
        app: impl Fn(&W) -> App + Send + Sync + 'static,
    ) -> Self {
        Self {
            world: Box::new(world),
            app: Box::new(app),
            probe: Box::new(|_| Box::pin(async { String::new() })),
        }
    }

    /// Also compares what this shows of the world, as its `Debug` form: leave out what changes by itself, such as times
    /// and random ids, and what has no order of its own, such as a `HashMap`.
    #[must_use]
    pub fn probe<V, P>(mut self, probe: P) -> Self
    where
        V: fmt::Debug,
        P: AsyncFn(&W) -> V + Send + Sync + 'static,
    {
        let probe = Arc::new(probe);
        self.probe = Box::new(move |world: &W| -> Shown<'_> {
            let probe = probe.clone();
            Box::pin(async move { format!("{:#?}", probe(world).await) })
        });
        self
    }
}

impl<W> fmt::Debug for Subject<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subject")
    }
}
