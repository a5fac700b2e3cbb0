use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, atomic::AtomicBool},
};

use tokio::sync::watch;
use tracing::{debug, info};

use crate::{
    Audience, Config, ConsumeSpec, Description, Error, MessageKind, Node, NodeIdentity, OnDead, ServeSpec,
    Stores, Transport,
    behavior::Wrap,
    consume::{Consumer, Consuming},
    endpoint::{Endpoint, HandlerInfo, Server},
    forward::Forwarded,
    leading::Leading,
    mediator::Budget,
    node::NodeInner,
    registry::Registered,
    relay::Relay,
    wall::Wall,
};

/// An app whose wiring is sound. It has not connected to anything yet.
pub struct Built {
    pub(super) identity: NodeIdentity,
    pub(super) config: Config,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) stores: Stores,
    pub(super) leading: Option<Leading>,
    pub(super) registered: Vec<Registered>,
    pub(super) wraps: Vec<Wrap>,
}

impl Built {
    /// One line per handler: kind, wire name, handler, who runs it, where it stands.
    pub fn catalogue(&self) -> Vec<String> {
        let mut lines: Vec<_> = self.registered.iter().map(|h| line(&h.info)).collect();
        lines.sort();
        lines
    }

    /// What it handles, for people and programs.
    pub fn describe(&self) -> Description {
        let singletons = self.leading.as_ref().map_or_else(Vec::new, |leading| leading.singletons.names());
        Description::of(&self.identity, self.registered.iter().map(|handler| &handler.info), singletons)
    }

    /// What was found is said, because a crate that is not linked is not found.
    fn log_catalogue(&self) {
        let node = &self.identity.node;
        let mut names: Vec<_> = self.registered.iter().map(|h| h.info.name).collect();
        names.sort_unstable();
        names.dedup();
        info!(node, handlers = self.registered.len(), "the node handles {}", names.join(", "));
        self.catalogue().iter().for_each(|line| debug!(node, "handles {line}"));
    }

    /// Connects, declares, serves and consumes.
    ///
    /// # Errors
    /// What is wrong for good. A broker that is not there yet is not: the node starts, and is not ready.
    pub async fn start(self) -> Result<Node, Error> {
        self.log_catalogue();
        let Self { identity, config, transport, stores, leading, registered, wraps } = self;
        transport.open(&identity).await?;
        nowhere_to_park(&registered, &*transport)?;
        let relay = stores.outbox.clone().map(|outbox| Relay::new(outbox, &identity, &config));
        let writes = relay.as_ref().is_some_and(Relay::takes_writes);
        let endpoints =
            registered.into_iter().map(|handler| Arc::new(Endpoint::new(handler, &wraps, &config, writes)));
        let (events, requests): (Vec<_>, Vec<_>) =
            endpoints.partition(|endpoint| endpoint.info.kind == MessageKind::Event);
        let mut consumers = by_audience(events);
        consumers.extend(jobs(&requests));
        let needs_stores = consumers.iter().any(|(audience, _)| *audience != Audience::View)
            || requests.iter().any(|endpoint| endpoint.info.idempotent);
        let inner = Arc::new(NodeInner {
            replaying: Mutex::new(
                consumers.iter().map(|c| c.0.clone()).filter(|a| *a == Audience::View).collect(),
            ),
            endpoints: requests.iter().map(|endpoint| (endpoint.info.name, endpoint.clone())).collect(),
            budget: Budget::new(),
            wall: Wall::new(),
            stopping: watch::Sender::new(false),
            announced: AtomicBool::new(false),
            identity,
            config,
            transport,
            stores,
            relay,
            leading,
            needs_stores,
        });
        // From here on a failure drops the node, and with it whatever was joined so far.
        let mut node = Node::new(inner.clone());
        for (audience, handlers) in consumers {
            let names = handlers.keys().copied().collect();
            let spec =
                ConsumeSpec { audience: audience.clone(), names, in_flight_max: inner.config.in_flight_max };
            let consumer = Arc::new(Consumer::new(inner.clone(), audience, handlers));
            inner.transport.consume(spec, Arc::new(Consuming(consumer))).await?;
        }
        for endpoint in requests {
            let spec = ServeSpec {
                name: endpoint.info.name,
                kind: endpoint.info.kind,
                queue_max: inner.config.queue_max.saturating_add(inner.config.concurrency),
            };
            let server = Server::new(inner.clone(), endpoint);
            inner.transport.serve(spec, Arc::new(server)).await?;
        }
        if inner.leading.is_some() {
            inner.transport.serve_node(Arc::new(Forwarded(inner.clone()))).await?;
            node.start_singletons();
        }
        Ok(node)
    }
}

/// A handler that parks needs a transport that keeps what is parked.
fn nowhere_to_park(registered: &[Registered], transport: &dyn Transport) -> Result<(), Error> {
    let parks = registered.iter().find(|handler| handler.info.options.on_dead == OnDead::Park);
    let Some(Registered { info, .. }) = parks.filter(|_| transport.parking().is_none()) else {
        return Ok(());
    };
    let (title, at, name) = (&info.title, info.at, transport.capability().name);
    Err(Error::start(format!(
        "`{title}` at {at} says `on_dead = \"park\"`, and the transport `{name}` keeps nothing parked"
    )))
}

type ByName = HashMap<&'static str, Vec<Arc<Endpoint>>>;

/// In the order of the handlers: two starts of one app make the same calls.
fn by_audience(events: Vec<Arc<Endpoint>>) -> Vec<(Audience, ByName)> {
    let mut consumers: Vec<(Audience, ByName)> = Vec::new();
    for endpoint in events {
        let audience = audience(&endpoint.info);
        let known = consumers.iter().position(|(known, _)| *known == audience);
        let place = known.unwrap_or_else(|| {
            consumers.push((audience, ByName::new()));
            consumers.len() - 1
        });
        consumers[place].1.entry(endpoint.info.name).or_default().push(endpoint);
    }
    consumers
}

/// The consumer of enqueued commands: every command can be enqueued.
fn jobs(requests: &[Arc<Endpoint>]) -> Option<(Audience, ByName)> {
    let commands = requests.iter().filter(|endpoint| endpoint.info.kind == MessageKind::Command);
    let by_name: ByName = commands.map(|endpoint| (endpoint.info.name, vec![endpoint.clone()])).collect();
    (!by_name.is_empty()).then_some((Audience::Jobs, by_name))
}

fn audience(info: &HandlerInfo) -> Audience {
    match (info.options.view, info.options.group) {
        (true, _) => Audience::View,
        (false, Some(group)) => Audience::Group(group.to_owned()),
        (false, None) => Audience::Node,
    }
}

fn line(info: &HandlerInfo) -> String {
    let who = match (info.kind, audience(info)) {
        (MessageKind::Event, Audience::Node) => "on every node".to_owned(),
        (MessageKind::Event, Audience::View) => "as a view of every node".to_owned(),
        (MessageKind::Event, Audience::Group(group)) => format!("on one node of `{group}`"),
        _ if info.options.leader.is_some() && info.idempotent => "on the leader, once per key".to_owned(),
        _ if info.options.leader.is_some() => "on the leader".to_owned(),
        _ if info.idempotent => "on one node, once per key".to_owned(),
        _ => "on one node".to_owned(),
    };
    format!("{} {} by {} {who} ({}, {})", info.kind.word(), info.name, info.title, info.message_name, info.at)
}

impl fmt::Debug for Built {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Built").field("identity", &self.identity).finish_non_exhaustive()
    }
}
