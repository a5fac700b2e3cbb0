//! The stores of a node on key-value buckets of JetStream.
//!
//! # Where
//! Two buckets per namespace, which `nats kv` can show: `<NAMESPACE>_CLAIMS` and `<NAMESPACE>_MARKS`. Whoever comes
//! first declares them; one that differs is never changed. A claim is at `<scope>.<key in base64url>`, with `/` for
//! each `:` of the scope.
//!
//! # Why one completed run holds
//! Each change of a record is one publish that the server stores only if the revision it was decided on is still the
//! latest. Of any number of claims one is stored; the others read how it stands. The fence is the revision of the
//! claim's own write, so it grows over the whole bucket, also across the expiry of a record.
//!
//! # Whose clock
//! The server's alone: a lease begins at the time the server gave the stored record, and has ended when the server's
//! time, asked for within the last second, is later by the lease. Nodes whose clocks disagree agree on every lease;
//! from our side only time since an answer is added, so an old reading errs towards a lease that still holds. In a
//! cluster of servers a new leader's clock counts, so keep theirs synchronised: a lease ends early or late by as much
//! as they differ. Who is then taken over is fenced.

mod bucket;
mod claims;
mod clock;
mod config;
mod decide;
mod declaration;
mod held;
mod key;
mod marks;
mod record;
mod waiters;

use std::{fmt, sync::Arc, time::Duration};

use tokio::{sync::Semaphore, time::Instant};

use crate::{Config, Error, inbox::Inbox, link::Link};
use bucket::{Access, Bucket};
use clock::Clock;
use held::Held;
use waiters::Waiters;

pub use config::StoresConfig;
pub use marks::MARK_BYTES_MAX;

/// How the buckets are declared.
pub(crate) fn declared(config: &StoresConfig, copies: usize) -> [serde_json::Value; 2] {
    [declaration::claims(config, copies), declaration::marks(config, copies)]
}

/// How long a start waits for the server before it goes on without.
const START_WAIT: Duration = Duration::from_secs(3);

/// The stores of a node, in NATS. Cloning is cheap and shares the connection.
///
/// A user with limited permissions publishes to `$KV.<NAMESPACE>_CLAIMS.>`, `$KV.<NAMESPACE>_MARKS.>` and
/// `$JS.API.STREAM.{INFO,CREATE,MSG.GET}` of `KV_<NAMESPACE>_CLAIMS` and `_MARKS`, and subscribes to `$KV.<NAMESPACE>_CLAIMS.>`
/// and to the inbox. What a single server may lose on a power cut, as it writes to disk every two minutes unless
/// `sync_interval` is `always`, is lost here too; with three replicas a majority would have to lose it.
///
/// ```no_run
/// # async fn start() -> Result<(), convoke_nats::Error> {
/// let stores = convoke_nats::Stores::connect("nats://127.0.0.1:4222").await?;
/// let for_the_app: convoke_core::Stores = stores.into();
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Stores {
    inner: Arc<Inner>,
}

struct Inner {
    claims: Bucket,
    marks: Bucket,
    clock: Clock,
    held: Held,
    waiters: Arc<Waiters>,
    timeout: Duration,
    /// Tells our own repeated writes of a mark from those of others.
    writer: uuid::Uuid,
}

impl Stores {
    /// Connects with the defaults to one server, or to several with commas between them.
    ///
    /// Returns also while the server cannot be reached: `ping` tells when it can.
    ///
    /// # Errors
    /// When an address is malformed.
    pub async fn connect(url: impl AsRef<str>) -> Result<Self, Error> {
        Self::connect_with(Config::new(url), StoresConfig::default()).await
    }

    /// Connects as configured. Returns also while the server cannot be reached.
    ///
    /// # Errors
    /// When the configuration cannot work: a malformed address, a file that cannot be read.
    pub async fn connect_with(config: Config, stores: StoresConfig) -> Result<Self, Error> {
        stores.check()?;
        let link = Link::connect(&config).await?;
        let inbox = Arc::new(Inbox::open(Arc::clone(&link)).await?);
        if !link.connected_by(Instant::now() + START_WAIT).await {
            tracing::warn!("{}", crate::vitals::unreachable(&link));
        }
        Self::on(&link, &inbox, config.copies(), stores)
    }

    /// On a connection that is there.
    pub(crate) fn on(
        link: &Arc<Link>,
        inbox: &Arc<Inbox>,
        replicas: usize,
        config: StoresConfig,
    ) -> Result<Self, Error> {
        config.check()?;
        let access = Arc::new(Access {
            link: Arc::clone(link),
            inbox: Arc::clone(inbox),
            window: Semaphore::new(config.window),
        });
        let inner = Inner {
            claims: Bucket::new(&access, declaration::claims(&config, replicas)),
            marks: Bucket::new(&access, declaration::marks(&config, replicas)),
            clock: Clock::default(),
            held: Held::default(),
            waiters: Arc::new(Waiters::new(link)),
            timeout: config.timeout,
            writer: uuid::Uuid::now_v7(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.inner.timeout
    }
}

impl From<Stores> for convoke_core::Stores {
    fn from(stores: Stores) -> Self {
        Self::of(stores)
    }
}

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stores")
            .field("claims", &self.inner.claims.stream())
            .field("marks", &self.inner.marks.stream())
            .finish_non_exhaustive()
    }
}
