use std::{future::IntoFuture, time::Duration};

use bytes::Bytes;
use convoke_core::BoxFuture;

use super::{Kv, Value};
use crate::{Consistency, Error};

/// A read of one key, made when it is awaited. `None` when nothing is there.
///
/// # Errors
/// [`ErrorKind::NoLeader`](crate::ErrorKind::NoLeader) and [`ErrorKind::NoQuorum`](crate::ErrorKind::NoQuorum) when
/// nobody can say before the deadline that the copy is fresh enough; never with [`eventual`](Self::eventual).
#[derive(Debug, Clone)]
#[must_use = "it does nothing until it is awaited"]
pub struct Get {
    kv: Kv,
    key: Bytes,
    consistency: Consistency,
    timeout: Duration,
}

impl Get {
    pub(super) fn new(kv: &Kv, key: &[u8]) -> Self {
        let key = Bytes::copy_from_slice(key);
        let (consistency, timeout) = (kv.default_consistency(), kv.default_timeout());
        Self { kv: kv.clone(), key, consistency, timeout }
    }

    /// Sees everything that was acknowledged before. The default, unless the configuration says otherwise.
    pub fn linearizable(self) -> Self {
        self.consistency(Consistency::Linearizable)
    }

    /// The same, without asking a majority while the leader's lease holds.
    pub fn lease(self) -> Self {
        self.consistency(Consistency::Lease)
    }

    /// What this node has, which may be old. Waits for nobody.
    pub fn eventual(self) -> Self {
        self.consistency(Consistency::Eventual)
    }

    /// How fresh it is.
    pub fn consistency(mut self, consistency: Consistency) -> Self {
        self.consistency = consistency;
        self
    }

    /// How long it takes at most.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

impl IntoFuture for Get {
    type Output = Result<Option<Value>, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let Self { kv, key, consistency, timeout } = self;
            kv.read(consistency, timeout, |system| system.machine().get(&key, system.steady_ms())).await
        })
    }
}
