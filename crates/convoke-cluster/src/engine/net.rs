//! The wire between members: framed messages over TCP, TLS, an upgraded HTTP connection or, in simulations, a pipe.
//!
//! A node makes a [`Net`] of its identity and a [`Connect`]; openraft gets its [`Factory`], clients its [`Calls`], and
//! each connection that others make to the node goes to [`Server::serve`].

mod append;
mod calls;
mod client;
mod dial;
mod frame;
mod handshake;
mod identity;
mod kind;
mod lane;
mod link;
mod listener;
mod outbox;
mod peers;
mod raft;
mod seats;
mod serve;
mod service;
mod snapshot;
mod timing;
mod tls;
mod upgrade;
mod waiting;
mod wire;

use std::sync::Arc;

pub(crate) use calls::Calls;
pub(crate) use client::Factory;
pub(crate) use identity::Identity;
pub(crate) use listener::{Listener, Plain, Secure};
pub(crate) use raft::Served;
pub(crate) use serve::Server;
pub(crate) use service::{Receive, Service};
pub(crate) use snapshot::Parcel;
pub(crate) use timing::Timing;
pub(crate) use tls::Tls;
pub(crate) use upgrade::Upgrade;
pub use upgrade::{PATH as UPGRADE_PATH, PROTOCOL as UPGRADE_PROTOCOL};
#[cfg(test)]
pub(crate) use wire::BoxWire;
pub(crate) use wire::{Connect, Tcp};

use dial::Caller;
use peers::Peers;

/// Members' connections that are open at once, to one node. Each member has up to four.
pub(crate) const CONNECTIONS_MAX: usize = 256;

/// One node's end of all wires.
#[derive(Debug, Clone)]
pub(crate) struct Net {
    peers: Arc<Peers>,
}

impl Net {
    pub(crate) fn new(us: Identity, timing: Timing, connect: Arc<dyn Connect>) -> Self {
        Self { peers: Arc::new(Peers::new(Caller { us, timing, connect })) }
    }

    /// What openraft calls other members with. `P` is what its snapshots are.
    pub(crate) fn factory<P: Parcel>(&self) -> Factory<P> {
        Factory::new(Arc::clone(&self.peers))
    }

    /// What clients of this node reach other members with.
    pub(crate) fn calls(&self) -> Calls {
        Calls::new(Arc::clone(&self.peers))
    }

    /// What serves the connections of others.
    pub(crate) fn server(&self, service: Arc<dyn Service>) -> Server {
        Server::new(Arc::clone(&self.peers), service, CONNECTIONS_MAX)
    }
}

#[cfg(test)]
impl Net {
    /// How often a connection was tried.
    fn attempts(&self) -> u64 {
        self.peers.attempts()
    }
}

#[cfg(test)]
mod tests;
