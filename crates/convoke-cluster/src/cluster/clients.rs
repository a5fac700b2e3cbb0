use std::sync::Arc;

use super::Cluster;
use crate::{
    Config, Error, StateMachine,
    kv::{Kv, Machine},
    locks::{Guard, Lock, Locks},
};

impl Cluster {
    /// Starts this node, with the key-value store as what is replicated.
    ///
    /// # Errors
    /// As [`start_with`](Self::start_with).
    pub async fn start(config: Config) -> Result<Self, Error> {
        Self::start_with(config, Machine::default()).await
    }

    /// The replicated key-value store. Keeps the node alive as long as it lives.
    #[must_use]
    pub fn kv(&self) -> Kv {
        let kv = Kv::new(Arc::clone(&self.inner) as _, Arc::clone(&self.inner.system));
        kv.consistency(self.inner.config.consistency)
    }
}

impl<M: StateMachine> Cluster<M> {
    /// A lock that the cluster keeps, under this name.
    pub fn lock(&self, name: impl Into<String>) -> Lock {
        Locks::new(Arc::clone(&self.inner) as _, Arc::clone(&self.inner.system)).lock(name)
    }

    /// Holds this lock when nobody else does, and answers `None` at once when somebody does.
    ///
    /// # Errors
    /// As [`Lock::try_acquire`].
    pub async fn try_lock(&self, name: impl Into<String>) -> Result<Option<Guard>, Error> {
        self.lock(name).try_acquire().await
    }
}
