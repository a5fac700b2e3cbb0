mod check;
mod start;

use std::{
    any::{TypeId, type_name},
    collections::HashSet,
    fmt,
    panic::Location,
    sync::Arc,
};

use tower_layer::Layer;
use tower_service::Service as TowerService;

use crate::{
    Answer, Behavior, BoxError, Catalog, Config, Coordinator, Delivery, Description, Error, Forwarder,
    Handlers, InProcess, NextService, Node, Provide, Registry, Singleton, Stores, Transport,
    behavior::{self, Wrap},
    catalog::{Entry, Expected},
    singleton::Task,
    state::StateMap,
    tower_bridge,
};

pub use check::BuildError;
pub use start::Built;

/// A service before it runs: what it handles, with what, and around what. Inert.
///
/// Without a transport it runs on an in-process bus with stores of its own, and needs nothing else.
pub struct App {
    name: String,
    node: Option<String>,
    config: Config,
    transport: Option<Arc<dyn Transport>>,
    coordinator: Option<Arc<dyn Coordinator>>,
    forwarder: Option<Arc<dyn Forwarder>>,
    singletons: Vec<(String, Box<dyn Task>)>,
    stores: Option<Stores>,
    state: StateMap,
    registry: Registry,
    wraps: Vec<Wrap>,
    by_hand: HashSet<TypeId>,
    functions: Vec<(TypeId, &'static str, &'static Location<'static>)>,
    discover: Discover,
    expected: Vec<Expected>,
    problems: Vec<String>,
}

enum Discover {
    Nothing,
    Everything,
    Crates(Vec<&'static str>),
}

impl App {
    /// A service of this name: it names the queue groups, so all nodes of one service share it. Letters,
    /// digits, `-` and `_`, 1 to 64 of them.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            node: None,
            config: Config::default(),
            transport: None,
            coordinator: None,
            forwarder: None,
            singletons: Vec::new(),
            stores: None,
            state: StateMap::default(),
            registry: Registry::default(),
            wraps: Vec::new(),
            by_hand: HashSet::new(),
            functions: Vec::new(),
            discover: Discover::Nothing,
            expected: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// The node's id, stable over restarts: what was published while it was down is waiting under it. Letters,
    /// digits, `-` and `_`. Default: the name of the machine.
    #[must_use]
    pub fn node(mut self, id: impl Into<String>) -> Self {
        self.node = Some(id.into());
        self
    }

    /// How the node works.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// What carries the messages. Default: an in-process bus.
    #[must_use]
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.transport = Some(Arc::new(transport));
        self
    }

    /// What remembers who ran what. Default: in this process, which is refused when an idempotent command
    /// travels over a network.
    #[must_use]
    pub fn stores(mut self, stores: impl Into<Stores>) -> Self {
        self.stores = Some(stores.into());
        self
    }

    /// The cluster this node belongs to, which says who leads: for `#[handler(leader)]` and for
    /// [`singleton`](Self::singleton)s. The node leaves it when it stops.
    #[must_use]
    pub fn cluster(mut self, cluster: impl Coordinator) -> Self {
        self.coordinator = Some(Arc::new(cluster));
        self
    }

    /// What hands requests for the leader to it. Default: the transport, which must reach every node by its id, as
    /// NATS does; without a broker it is `convoke::http::HttpForwarder`.
    #[must_use]
    pub fn forwarder(mut self, forwarder: impl Forwarder) -> Self {
        self.forwarder = Some(Arc::new(forwarder));
        self
    }

    /// Work that runs on the leader alone, from when the node leads until it leads no more. See [`Singleton`].
    #[must_use]
    pub fn singleton(mut self, name: impl Into<String>, singleton: impl Singleton) -> Self {
        self.singletons.push((name.into(), Box::new(singleton)));
        self
    }

    /// Provides a value to services and functions, by its type.
    #[track_caller]
    #[must_use]
    pub fn state<T: Provide>(mut self, value: T) -> Self {
        let at = Location::caller();
        if let Some(first) = self.state.insert(value, at) {
            self.problems.push(format!("two `{}` in the state:\n    {first}\n    {at}", type_name::<T>()));
        }
        self
    }

    /// Adds a service that was built by hand. `discover` then leaves its type alone.
    #[must_use]
    pub fn service<S: Handlers>(mut self, service: S) -> Self {
        self.by_hand.insert(TypeId::of::<S>());
        Arc::new(service).register(&mut self.registry);
        self
    }

    /// Adds one `#[handler]` function by naming it.
    #[track_caller]
    #[must_use]
    pub fn function<F: 'static>(mut self, function: F) -> Self {
        self.functions.push((Entry::type_of(function), type_name::<F>(), Location::caller()));
        self
    }

    /// Adds every `#[derive(Service)]` and `#[handler] fn` that is linked in.
    #[must_use]
    pub fn discover(mut self) -> Self {
        self.discover = Discover::Everything;
        self
    }

    /// The same for some crates: `.discover_in(crates![orders, billing])`.
    #[must_use]
    pub fn discover_in(mut self, crates: &[&'static str]) -> Self {
        self.discover = Discover::Crates(crates.to_vec());
        self
    }

    /// Fails the build when one of these messages has no handler.
    #[must_use]
    pub fn expects(mut self, catalog: Catalog) -> Self {
        self.expected.extend(catalog.0);
        self
    }

    /// Runs around every handler. The first one added, behaviour or layer, is the outermost.
    ///
    /// Tracing, deadlines, validation and the claim of an idempotent command are always there, outside of all.
    #[must_use]
    pub fn behavior<B: Behavior>(mut self, behavior: B) -> Self {
        self.wraps.push(behavior::wrap(behavior));
        self
    }

    /// A tower layer at the place of a behaviour. Its service is built once per handler, so a
    /// `ConcurrencyLimitLayer::new(8)` means eight per handler; the `Global` one means eight per node.
    #[must_use]
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<NextService> + Send + Sync + 'static,
        L::Service: TowerService<Delivery, Response = Answer> + Clone + Send + Sync + 'static,
        <L::Service as TowerService<Delivery>>::Error: Into<BoxError>,
        <L::Service as TowerService<Delivery>>::Future: Send,
    {
        self.wraps.push(tower_bridge::wrap(layer));
        self
    }

    /// The same app on another transport, with stores to match: how a test runs a production app.
    #[must_use]
    pub fn on(self, bus: InProcess, stores: Stores) -> Self {
        self.transport(bus).stores(stores)
    }

    /// Checks the wiring and does no I/O.
    ///
    /// # Errors
    /// Everything that is wrong, at once, each with its place.
    pub fn build(self) -> Result<Built, BuildError> {
        check::build(self)
    }

    /// Checks the wiring, then connects, declares and consumes.
    ///
    /// # Errors
    /// What is wrong for good. A broker that is not there yet is not: the node starts, and is not ready.
    pub async fn start(self) -> Result<Node, Error> {
        self.build()?.start().await
    }

    /// What it handles, without connecting to anything: the one line behind a program's `describe` command.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn describe(self) -> Result<Description, BuildError> {
        self.build().map(|built| built.describe())
    }

    /// What is linked in, as `discover` finds it: a service or function, its crate and its place.
    pub fn linked() -> Vec<String> {
        let line = |e: &Entry| format!("{} ({}, {})", e.title, e.crate_name(), e.at);
        let mut lines: Vec<_> = inventory::iter::<Entry>().map(line).collect();
        lines.sort();
        lines
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("name", &self.name)
            .field("registry", &self.registry)
            .finish_non_exhaustive()
    }
}
