mod faulty;
mod setup;

use std::{fmt, ops::Deref, sync::Arc, time::Duration};

use convoke_core::{App, Bus, DeadLetter, InProcess, Mediator, Message, Node, Stores, stores_in_process};

use faulty::Faulty;
pub use setup::Setup;
use tokio::time::timeout;

/// How long a test waits for the app to rest. Paused time passes at once when nothing else is left to do.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(60);
/// The same under faults: leases run out, calls time out, pauses grow.
const SETTLE_TIMEOUT_UNDER_FAULTS: Duration = Duration::from_secs(600);

/// A production app on a bus of its own: the same pipeline, and everything is encoded and decoded, so that what
/// works here works on the wire.
///
/// It is a [`Mediator`], too: `app.send(..)`, `app.query(..)`, `app.publish(..)`. Under
/// `#[tokio::test(start_paused = true)]` time stands still and retries cost none.
///
/// ```
/// # use convoke_core::{App, Command, Context, Handler, HandlerSpec, Options, Outcome};
/// # use convoke_testing::TestApp;
/// # async fn test(app: App) {
/// let app = TestApp::start(app).await;
/// // app.send(PlaceOrder { .. }).await.unwrap();
/// app.settled().await; // every request answered, every event handled
/// // assert_eq!(app.published::<OrderPlaced>(), [..]);
/// assert!(app.dead_letters().is_empty());
/// # }
/// ```
pub struct TestApp {
    node: Node,
    mediator: Mediator,
    place: InProcess,
    stores: Stores,
    faulty: Option<Faulty>,
}

impl TestApp {
    /// A test app to be set up: with faults, for which its node may have to be started again and again. What outlives
    /// the node, such as a database, is made before and cloned into each app.
    ///
    /// ```
    /// # use convoke_core::App;
    /// use convoke_testing::{Faults, TestApp};
    /// # async fn test(app: fn() -> App) {
    /// let app = TestApp::of(move || app()).faults(Faults::seeded().duplicate(0.2).crash(0.01)).start().await;
    /// // app.send(PlaceOrder { .. }).idempotency_key("order-17").await.unwrap();
    /// app.settled().await; // whatever went wrong in between
    /// println!("{} faults, {} deaths", app.faults().len(), app.deaths());
    /// # }
    /// ```
    pub fn of(app: impl Fn() -> App + Send + Sync + 'static) -> Setup {
        Setup::new(Arc::new(app))
    }

    /// Starts the app, whatever transport and stores it was made with: those are replaced.
    ///
    /// # Panics
    /// When the app cannot be built; with every problem and its place.
    pub async fn start(app: App) -> Self {
        let place = InProcess::new();
        place.bus().encode_always();
        Self::start_on(app, place, stores_in_process()).await
    }

    /// Starts another node beside this one, on the same bus and stores. Name it with `App::node`.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub async fn start_beside(&self, app: App) -> Self {
        Self::start_on(app, self.place.another_node(), self.stores.clone()).await
    }

    async fn start_on(app: App, place: InProcess, stores: Stores) -> Self {
        let started = app.on(place.another_node(), stores.clone()).start().await;
        let node = started.unwrap_or_else(|error| panic!("{error}"));
        Self { mediator: node.mediator(), node, place, stores, faulty: None }
    }

    /// Stops the node in order and starts another app in its place, without faults: the bus, the stores and what was
    /// published meanwhile are still there.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub async fn restart(self, app: App) -> Self {
        let Self { node, place, stores, faulty, .. } = self;
        if let Some(faulty) = faulty {
            faulty.stop().await;
        }
        node.stop().await;
        Self::start_on(app, place, stores).await
    }

    /// The running node. Under faults the one that this test's calls go out from: it stands beside the app's, which
    /// comes and goes.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// What happens on the bus, and the faults it can make.
    pub fn bus(&self) -> Bus {
        self.place.bus()
    }

    /// Waits until every request is answered and every event is settled by every consumer. It counts; it does
    /// not wait a while.
    ///
    /// # Panics
    /// When that takes more than 60 s of the test's time, 600 s under faults: a handler hangs, or events go in circles.
    pub async fn settled(&self) {
        let bus = self.place.bus();
        let (limit, rests) = match &self.faulty {
            None => (SETTLE_TIMEOUT, timeout(SETTLE_TIMEOUT, bus.settled()).await),
            Some(faulty) => {
                let settled = faulty.settled(async || bus.settled().await);
                (SETTLE_TIMEOUT_UNDER_FAULTS, timeout(SETTLE_TIMEOUT_UNDER_FAULTS, settled).await)
            }
        };
        assert!(rests.is_ok(), "the app does not come to rest within {limit:?}");
    }

    /// What went wrong so far, by its seed, in order. Empty without faults.
    pub fn faults(&self) -> Vec<String> {
        self.faulty.as_ref().map(Faulty::made).unwrap_or_default()
    }

    /// How often the app's node died of its faults.
    pub fn deaths(&self) -> usize {
        self.faulty.as_ref().map_or(0, Faulty::deaths)
    }

    /// The published events of type `E`, oldest first.
    pub fn published<E: Message>(&self) -> Vec<E> {
        self.bus().published()
    }

    /// The commands of type `C` that were sent, oldest first.
    pub fn sent<C: Message>(&self) -> Vec<C> {
        self.bus().sent()
    }

    /// What no handler could handle.
    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        self.bus().dead_letters()
    }

    /// From now on every event is delivered twice at once.
    pub fn deliver_twice(&self) {
        self.bus().faults().deliver_twice(true);
    }

    /// From now on every event is delivered again after it was handled, as after a lost acknowledgement.
    pub fn redeliver(&self) {
        self.bus().faults().redeliver(true);
    }
}

impl Deref for TestApp {
    type Target = Mediator;
    fn deref(&self) -> &Mediator {
        &self.mediator
    }
}

impl fmt::Debug for TestApp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestApp").field("node", &self.node).finish_non_exhaustive()
    }
}
