use std::time::Duration;

/// The longest name of a lock, in bytes.
pub const NAME_BYTES_MAX: usize = 256;
/// The shortest lease: a new leader is found within it.
pub const TTL_MIN: Duration = Duration::from_secs(1);
/// The longest lease: so long a lock stays with a node that died.
pub const TTL_MAX: Duration = Duration::from_secs(3600);
/// Who waits for one lock.
pub const WAITERS_MAX: usize = 256;
/// Locks that are held at the same time.
pub const LOCKS_MAX: usize = 10_000;
/// How long a lease is, unless [`Lock::ttl`](crate::locks::Lock::ttl) says otherwise.
pub const TTL: Duration = Duration::from_secs(10);
/// How long [`Lock::try_acquire`](crate::locks::Lock::try_acquire) waits for the cluster.
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// How long a release is tried. Then the lease ends by itself.
pub const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two tries to renew a lease.
pub(super) const RENEW_PAUSE: Duration = Duration::from_millis(50);
