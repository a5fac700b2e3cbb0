use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    CompareAndSwap, Delete, Expected, Get, Machine, Put, Scan, StartWatch, Write,
    machine::{Answer, Command},
    refused::refused,
};
use crate::engine::runtime::watch;
use crate::{
    Consistency, Error, ask, coding,
    engine::types::Op,
    propose::Propose,
    replicated::{Shared, System},
};

/// How long a call takes at most, unless [`Kv::timeout`] or the call's own `timeout` says otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// A handle to the replicated key-value store. Cloning is cheap.
///
/// ```no_run
/// # async fn example(kv: convoke_cluster::kv::Kv) -> Result<(), convoke_cluster::Error> {
/// use std::time::Duration;
/// use convoke_cluster::kv::Expected;
///
/// let version = kv.put("orders/7", "placed").ttl(Duration::from_secs(60)).await?;
/// let order = kv.get("orders/7").await?;
/// kv.compare_and_swap("orders/7", Expected::Version(version), "shipped").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Kv {
    inner: Arc<Inner>,
    timeout: Duration,
    consistency: Consistency,
}

struct Inner {
    node: Arc<dyn Propose>,
    state: Shared<Machine>,
}

impl Kv {
    pub(crate) fn new(node: Arc<dyn Propose>, state: Shared<Machine>) -> Self {
        let inner = Arc::new(Inner { node, state });
        Self { inner, timeout: TIMEOUT, consistency: Consistency::default() }
    }

    /// How long each call takes at most. Default: [`TIMEOUT`].
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How fresh reads are that do not say. Default: the node's [`Config::consistency`](crate::Config::consistency).
    #[must_use]
    pub fn consistency(mut self, consistency: Consistency) -> Self {
        self.consistency = consistency;
        self
    }

    /// Writes a value, whatever was there. Answers its version.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> Put {
        Put::new(self, Write::put(key, value))
    }

    /// Writes a value if what is there is as expected, and changes nothing otherwise.
    pub fn compare_and_swap(
        &self,
        key: impl AsRef<[u8]>,
        expected: impl Into<Expected>,
        value: impl Into<Bytes>,
    ) -> CompareAndSwap {
        CompareAndSwap::new(self, Write::put(key, value).expecting(expected))
    }

    /// Deletes a key if its version is this one, and changes nothing otherwise.
    pub fn compare_and_delete(&self, key: impl AsRef<[u8]>, version: u64) -> CompareAndSwap {
        CompareAndSwap::new(self, Write::delete(key).expecting(version))
    }

    /// Deletes a key. Answers whether it was there.
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Delete {
        Delete::new(self, Write::delete(key))
    }

    /// Reads a key. [`Consistency::Linearizable`] unless told otherwise.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Get {
        Get::new(self, key.as_ref())
    }

    /// Reads the keys that start with `prefix`, in their order, page by page.
    pub fn scan(&self, prefix: impl AsRef<[u8]>) -> Scan {
        Scan::new(self, prefix.as_ref())
    }

    /// Tells every change of a key that starts with `prefix`.
    pub fn watch(&self, prefix: impl AsRef<[u8]>) -> StartWatch {
        StartWatch::new(self, prefix.as_ref())
    }

    pub(super) fn default_consistency(&self) -> Consistency {
        self.consistency
    }

    pub(super) fn default_timeout(&self) -> Duration {
        self.timeout
    }

    /// Proposes a command, and tells what was made of it. Limits are checked here: what breaks one reaches nobody.
    pub(super) async fn propose(&self, command: &Command, timeout: Duration) -> Result<Answer, Error> {
        let deadline = Instant::now() + timeout;
        if let Some(refusal) = command.refusal() {
            return Err(refused(refusal));
        }
        let op = Op::Machine(coding::encode(command));
        let answer = ask::propose(&*self.inner.node, op, deadline).await?;
        match answer {
            Answer::Refused(refusal) => Err(refused(refusal)),
            Answer::Fenced { newest } => Err(Error::fenced(newest)),
            other => Ok(other),
        }
    }

    /// Waits until a read of the local copy is as fresh as asked for, and reads.
    pub(super) async fn read<T>(
        &self,
        consistency: Consistency,
        timeout: Duration,
        read: impl FnOnce(&System<Machine>) -> T,
    ) -> Result<T, Error> {
        ask::barrier(&*self.inner.node, consistency, Instant::now() + timeout).await?;
        // Poisoned when a command panicked half way: then there is no state to read.
        let system = self.inner.state.read().map_err(|_| Error::stopped())?;
        Ok(read(&system))
    }

    pub(super) fn state(&self) -> &Shared<Machine> {
        &self.inner.state
    }

    pub(super) fn applied(&self) -> watch::Receiver<u64> {
        self.inner.node.applied()
    }
}

impl fmt::Debug for Kv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kv").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}
