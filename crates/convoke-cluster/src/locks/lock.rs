use std::time::Duration;

use tokio::time::Instant;

use super::{
    Guard, Locks,
    attempt::Attempt,
    limits::{NAME_BYTES_MAX, TIMEOUT, TTL, TTL_MAX, TTL_MIN},
    requests::refused,
    table::Refusal,
};
use crate::Error;

/// A lock of the cluster, by its name. Holding it begins with [`acquire`](Self::acquire).
///
/// ```no_run
/// # async fn example(lock: convoke_cluster::locks::Lock) -> Result<(), convoke_cluster::Error> {
/// use std::time::Duration;
///
/// let guard = lock.ttl(Duration::from_secs(10)).acquire(Duration::from_secs(30)).await?;
/// tokio::select! {
///     () = guard.lost() => return Ok(()), // somebody else may hold it now
///     () = the_nightly_job(guard.fence()) => {}
/// }
/// guard.release().await
/// # }
/// # async fn the_nightly_job(_: u64) {}
/// ```
#[derive(Debug, Clone)]
#[must_use = "it is held when it was acquired"]
pub struct Lock {
    locks: Locks,
    name: String,
    ttl: Duration,
}

impl Lock {
    pub(super) fn new(locks: Locks, name: String) -> Self {
        Self { locks, name, ttl: TTL }
    }

    /// How long it stays held when its holder dies: from [`TTL_MIN`] to [`TTL_MAX`]. The holder renews it at a third
    /// of that. Default: [`TTL`].
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Holds the lock, after those who asked before.
    ///
    /// # Errors
    /// [`ErrorKind::Held`](crate::ErrorKind::Held) when others held it until the timeout, `Refused` for a name or a
    /// lease beyond the limits, `Overloaded` for a full queue; and what the cluster says when it has no leader. None
    /// of them leaves the lock with us for longer than its lease.
    pub async fn acquire(&self, timeout: Duration) -> Result<Guard, Error> {
        self.check()?;
        self.attempt().acquire(Instant::now() + timeout).await
    }

    /// Holds the lock when nobody else does. `None`, at once, when somebody does.
    ///
    /// # Errors
    /// As for [`acquire`](Self::acquire). Waits for the cluster, not for the lock, at most [`TIMEOUT`].
    pub async fn try_acquire(&self) -> Result<Option<Guard>, Error> {
        self.check()?;
        self.attempt().try_acquire(Instant::now() + TIMEOUT).await
    }

    fn attempt(&self) -> Attempt {
        Attempt::new(self.locks.clone(), self.name.clone(), self.ttl)
    }

    fn check(&self) -> Result<(), Error> {
        if self.name.is_empty() || self.name.len() > NAME_BYTES_MAX {
            return Err(refused(Refusal::Name));
        }
        if self.ttl < TTL_MIN || self.ttl > TTL_MAX {
            return Err(refused(Refusal::Ttl));
        }
        Ok(())
    }
}
