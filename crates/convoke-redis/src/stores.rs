use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use convoke_core::{Finding, Severity, StoreError};
use redis::Value;
use tracing::warn;

use crate::check::examine;
use crate::config::Config;
use crate::connection::Connection;
use crate::error::{Error, ErrorKind};
use crate::keys::Keys;
use crate::link::{Link, Operation};
use crate::reply::Reply;
use crate::script::Script;
use crate::waiters::Waiters;

/// The stores of a node, in Redis. Cloning is cheap and shares the connection.
#[derive(Clone)]
pub struct Stores {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) link: Arc<Link>,
    pub(crate) keys: Keys,
    pub(crate) channel: String,
    pub(crate) waiters: Arc<Waiters>,
    pub(crate) poll_interval: Duration,
    pub(crate) abandoned_retention: Duration,
    /// Whether the server was found to be one we can work with.
    checked: AtomicBool,
}

impl Stores {
    /// Connects with the default settings. See [`connect_with`](Self::connect_with).
    ///
    /// # Errors
    ///
    /// As [`connect_with`](Self::connect_with).
    pub async fn connect(url: impl Into<String>) -> Result<Self, Error> {
        Self::connect_with(Config::new(url)).await
    }

    /// Connects, and returns also when Redis cannot be reached yet: `ping` tells when it can.
    ///
    /// A user of an access list needs `~<prefix>:* &<prefix>:* +@read +@write +@scripting +@connection +publish
    /// +subscribe +info +time`, `+cluster` for a cluster, and `+config|get` to have `appendfsync` checked.
    ///
    /// # Errors
    ///
    /// What will not pass by itself: a wrong configuration, refused credentials or certificates, and a server we
    /// cannot work with.
    pub async fn connect_with(config: Config) -> Result<Self, Error> {
        let waiters = Arc::new(Waiters::default());
        config.validate()?;
        let keys = Keys::new(&config.key_prefix, config.partitions);
        let channel = keys.channel();
        let link = Arc::new(Link::new(&config, channel.clone(), Arc::clone(&waiters))?);
        let (poll_interval, abandoned_retention) = (config.poll_interval, config.abandoned_retention);
        let checked = AtomicBool::new(false);
        let inner = Inner { link, keys, channel, waiters, poll_interval, abandoned_retention, checked };
        let stores = Self { inner: Arc::new(inner) };
        match stores.vet().await {
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                warn!(%error, "redis cannot be reached, will keep trying");
                Ok(stores)
            }
            vetted => vetted.map(|()| stores),
        }
    }

    /// Looks at the server: its version, its configuration, and whether it was used with other settings before.
    ///
    /// # Errors
    ///
    /// When the server could not be asked.
    pub async fn check(&self) -> Result<Vec<Finding>, Error> {
        examine(&self.inner.link, &self.inner.keys).await
    }

    /// The same connection for the application's own keys.
    #[must_use]
    pub fn connection(&self) -> Connection {
        Connection::new(Arc::clone(&self.inner.link))
    }

    /// Checks until the server was found good once, and says what is not.
    pub(crate) async fn vet(&self) -> Result<(), Error> {
        if self.inner.checked.load(Ordering::Acquire) {
            return Ok(());
        }
        let findings = self.check().await?;
        if let Some(refusal) = Finding::refusal(&findings) {
            return Err(Error::unsupported(refusal));
        }
        for finding in findings.iter().filter(|finding| finding.severity > Severity::Fine) {
            warn!("{finding}");
        }
        self.inner.checked.store(true, Ordering::Release);
        Ok(())
    }

    /// Runs one of our scripts. Each may run several times as well as once.
    pub(crate) async fn run(
        &self,
        script: &Script,
        keys: &[&str],
        args: &[&[u8]],
    ) -> Result<Reply, StoreError> {
        self.inner.link.repeated(Operation::Script { script, keys, args }).await.map(Reply::new)
    }

    pub(crate) async fn command(&self, cmd: &redis::Cmd) -> Result<Value, StoreError> {
        self.inner.link.repeated(Operation::Command(cmd)).await
    }
}

impl From<Stores> for convoke_core::Stores {
    fn from(stores: Stores) -> Self {
        Self::with_outbox(stores)
    }
}

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stores")
            .field("endpoint", &self.inner.link.endpoint)
            .field("keys", &self.inner.keys)
            .finish_non_exhaustive()
    }
}
