use std::{fmt, sync::atomic::Ordering, time::Duration};

use tokio::time::timeout;

use super::NodeInner;
use crate::{Leadership, OutboxLag, SingletonHealth, TransportHealth, leading::Leading, relay::Relay};

/// How long a dependency may take to answer before it counts as away.
const PING_TIMEOUT: Duration = Duration::from_millis(500);

/// How a node and what it depends on stand.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// The node's id.
    pub node: String,
    /// The service's name.
    pub service: String,
    /// Whether the node is on its way out.
    pub stopping: bool,
    /// Each dependency.
    pub dependencies: Vec<Dependency>,
    /// Its place in its cluster. `None`: the app has none.
    pub cluster: Option<ClusterHealth>,
    /// How far the service's outbox is behind, as this node last saw it. `None`: its stores have no outbox.
    pub outbox: Option<OutboxLag>,
}

/// A node's place in its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterHealth {
    /// Who leads, as this node knows it.
    pub leadership: Leadership,
    /// What runs on the leader alone.
    pub singletons: Vec<SingletonHealth>,
}

/// One thing a node depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dependency {
    /// Its name, such as `nats`.
    pub name: String,
    /// Whether the node is not ready without it.
    pub needed: bool,
    /// `None` when it is fine; else what is wrong and what to do, as a sentence.
    pub problem: Option<String>,
    /// Whether the problem stays until somebody changes something.
    pub failed: bool,
}

impl Dependency {
    fn new(name: impl Into<String>, needed: bool, problem: Option<String>) -> Self {
        Self { name: name.into(), needed, problem, failed: false }
    }
}

impl Health {
    /// Whether the node should get work: everything it needs is there, and it is not stopping.
    pub fn is_ready(&self) -> bool {
        !self.stopping && self.dependencies.iter().all(|d| !d.needed || d.problem.is_none())
    }

    /// What is wrong for good.
    pub fn failed(&self) -> Option<&str> {
        self.dependencies.iter().find(|d| d.failed).and_then(|d| d.problem.as_deref())
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.stopping {
            return f.write_str("stopping");
        }
        let mut problems =
            self.dependencies.iter().filter_map(|d| Some((&d.name, d.problem.as_ref()?))).peekable();
        if problems.peek().is_none() {
            return f.write_str("ready");
        }
        for (n, (name, problem)) in problems.enumerate() {
            write!(f, "{}{name}: {problem}", if n == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl NodeInner {
    pub(crate) async fn health(&self) -> Health {
        let mut dependencies = Vec::new();
        let (problem, failed) = match self.transport.health() {
            TransportHealth::Up => (None, false),
            TransportHealth::Down(sentence) => (Some(sentence), false),
            TransportHealth::Failed(sentence) => (Some(sentence), true),
        };
        let transport = Dependency::new(self.transport.capability().name, true, problem);
        dependencies.push(Dependency { failed, ..transport });
        let warning = |sentence| Dependency::new(self.transport.capability().name, false, Some(sentence));
        dependencies.extend(self.transport.warnings().into_iter().map(warning));
        let claims = &self.stores.claims;
        let problem = match timeout(PING_TIMEOUT, claims.ping()).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("no answer within 500 ms".to_owned()),
        };
        dependencies.push(Dependency::new(format!("{} store", claims.name()), self.needs_stores, problem));
        let replaying = !self.replaying.lock().unwrap_or_else(std::sync::PoisonError::into_inner).is_empty();
        if replaying {
            let problem = "the views are being replayed".to_owned();
            dependencies.push(Dependency::new("views", true, Some(problem)));
        }
        dependencies.extend(self.leading.as_ref().map(Leading::dependency));
        let outbox = self.relay.as_ref().map(Relay::lag);
        if let Some(problem) = self.relay.as_ref().and_then(Relay::problem) {
            dependencies.push(Dependency::new("outbox", false, Some(problem)));
        }
        Health {
            cluster: self.leading.as_ref().map(Leading::health),
            outbox,
            node: self.identity.node.clone(),
            service: self.identity.service.clone(),
            stopping: self.is_stopping() || self.announced.load(Ordering::Relaxed),
            dependencies,
        }
    }
}
