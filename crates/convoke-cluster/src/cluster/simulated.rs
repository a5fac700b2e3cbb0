//! The way of a simulation into a node.

use std::sync::Arc;

pub(crate) use super::start::World;
use super::{Cluster, Inner};
use crate::{
    Config, StateMachine,
    engine::{life::Keeps, log::Log, net::Server},
    propose::Propose,
};

impl<M: StateMachine> Cluster<M> {
    /// A node in a world of its own, and what serves the connections that others make to it.
    pub(crate) fn simulated<L: Keeps>(config: Config, machine: M, world: World<L>) -> (Self, Server) {
        let address = config.listen.clone();
        let inner = Inner::launch(config, address, machine, world, Log::in_memory());
        let server = inner.server.clone();
        (Self { inner: Arc::new(inner) }, server)
    }

    /// Its clients' way in.
    pub(crate) fn proposing(&self) -> Arc<dyn Propose> {
        Arc::clone(&self.inner) as _
    }
}
