//! What a node's process answers its clients.

use std::{collections::BTreeMap, time::Duration};

use convoke_cluster::{
    Cluster, CoordinatorHealth, Error, ErrorKind,
    kv::{Expected, Swap, Value},
    locks::Guard,
};
use convoke_core::Executed;
use tokio::time::timeout;

use crate::wire::{Ask, Said, Standing};

/// The node, for one connection.
pub(crate) struct Node {
    cluster: Cluster,
    /// Locks that were acquired through this connection, by their fences. They are given back with its end.
    guards: BTreeMap<u64, Guard>,
}

impl Node {
    pub(crate) fn new(cluster: Cluster) -> Self {
        Self { cluster, guards: BTreeMap::new() }
    }

    pub(crate) async fn answer(&mut self, ask: Ask, within: Duration) -> Said {
        let kv = self.cluster.kv().timeout(within);
        let said = match ask {
            Ask::Read { key, lease: false } => kv.get(key).linearizable().await.map(value),
            Ask::Read { key, lease: true } => kv.get(key).lease().await.map(value),
            Ask::Write { key, value } => kv.put(key, value.to_string()).await.map(|_| Said::Done),
            Ask::Fill { bytes } => kv.put("ballast", vec![b'.'; bytes]).await.map(|_| Said::Done),
            Ask::Swap { key, version, to } => {
                kv.compare_and_swap(key, Expected::from(version), to.to_string()).await.map(swapped)
            }
            Ask::Acquire { lock, ttl_ms } => self.acquire(lock, Duration::from_millis(ttl_ms), within).await,
            Ask::Holds { fence } => Ok(self.holds(fence)),
            Ask::Release { fence } => self.release(fence).await,
            Ask::Standing => Ok(Said::Standing(self.standing())),
            Ask::Transfer { to } => self.cluster.transfer_leadership(to).await.map(|_| Said::Done),
        };
        said.unwrap_or_else(|error| failed(&error))
    }

    async fn acquire(&mut self, lock: String, ttl: Duration, within: Duration) -> Result<Said, Error> {
        let lock = self.cluster.lock(lock).ttl(ttl);
        match timeout(within, lock.try_acquire()).await {
            Ok(Ok(Some(guard))) => {
                let fence = guard.fence();
                self.guards.insert(fence, guard);
                Ok(Said::Granted { fence })
            }
            Ok(Ok(None)) => Ok(Said::Busy),
            // It was held, and its lease was over before its holder was told.
            Ok(Err(error)) if error.kind() == ErrorKind::Lost => Ok(Said::Unknown(error.to_string())),
            Ok(Err(error)) => Err(error),
            Err(_) => Ok(Said::Unknown("the lock was not acquired in time".to_owned())),
        }
    }

    fn holds(&self, fence: u64) -> Said {
        if self.guards.get(&fence).is_some_and(Guard::is_valid) { Said::Done } else { Said::Lost }
    }

    async fn release(&mut self, fence: u64) -> Result<Said, Error> {
        let Some(guard) = self.guards.remove(&fence) else { return Ok(Said::Lost) };
        // What was not released in time is tried again, or its lease ends.
        guard.release().await.map(|()| Said::Done).or_else(|error| Ok(Said::Unknown(error.to_string())))
    }

    fn standing(&self) -> Standing {
        let metrics = self.cluster.metrics();
        let down = match self.cluster.health() {
            CoordinatorHealth::Down(why) => Some(why),
            CoordinatorHealth::Up | CoordinatorHealth::Degraded(_) => None,
        };
        let leads = self.cluster.is_leader();
        Standing { leads, term: metrics.term, applied: metrics.applied, down }
    }
}

fn value(found: Option<Value>) -> Said {
    let Some(Value { bytes, version, .. }) = found else { return Said::Nothing };
    let value = std::str::from_utf8(&bytes).expect("a number").parse().expect("a number");
    Said::Value { value, version }
}

fn swapped(swap: Swap) -> Said {
    if swap.is_done() { Said::Done } else { Said::Differs }
}

/// What a failure says about whether it was done is taken at its word.
fn failed(error: &Error) -> Said {
    let why = format!("{:?}: {error}", error.kind());
    if error.executed() == Executed::No { Said::Refused(why) } else { Said::Unknown(why) }
}
