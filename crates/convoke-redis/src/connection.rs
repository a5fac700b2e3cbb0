use std::sync::Arc;

use convoke_core::StoreError;
use redis::{Cmd, FromRedisValue};

use crate::link::{Link, Operation};
use crate::reply::unexpected;
use crate::script::Script;

/// An application's own way to the Redis of the stores: one connection, with its deadlines and its watchdog.
///
/// ```no_run
/// # async fn count(stores: convoke_redis::Stores) -> Result<(), convoke_core::StoreError> {
/// use convoke_redis::{Script, redis};
///
/// let connection = stores.connection();
/// let orders: u64 = connection.query(redis::cmd("INCR").arg("orders:count")).await?;
///
/// // May run twice as well as once, so it survives a lost answer.
/// let script = Script::new("return redis.call('SET', KEYS[1], ARGV[1])");
/// connection.repeating().invoke::<()>(&script, &["orders:last"], &[b"o-1"]).await?;
/// # Ok(())
/// # }
/// ```
///
/// Blocking commands such as `BLPOP` have no place here: everybody would wait behind them.
#[derive(Debug, Clone)]
pub struct Connection {
    link: Arc<Link>,
    repeats: bool,
}

impl Connection {
    pub(crate) fn new(link: Arc<Link>) -> Self {
        Self { link, repeats: false }
    }

    /// The same, for commands that may run several times as well as once: they are repeated after a lost answer,
    /// until `command_timeout` is over.
    #[must_use]
    pub fn repeating(&self) -> Self {
        Self { link: Arc::clone(&self.link), repeats: true }
    }

    /// Runs one command.
    ///
    /// # Errors
    ///
    /// `Unavailable` when there was no answer in `command_timeout`: unless this is [`repeating`](Self::repeating),
    /// nobody knows whether it ran. `Refused` when the server said no, or answered something else than a `T`.
    pub async fn query<T: FromRedisValue>(&self, cmd: &Cmd) -> Result<T, StoreError> {
        self.run(Operation::Command(cmd)).await
    }

    /// Runs a script. In a cluster all its keys must carry one hash tag.
    ///
    /// # Errors
    ///
    /// As [`query`](Self::query).
    pub async fn invoke<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[&str],
        args: &[&[u8]],
    ) -> Result<T, StoreError> {
        self.run(Operation::Script { script, keys, args }).await
    }

    async fn run<T: FromRedisValue>(&self, operation: Operation<'_>) -> Result<T, StoreError> {
        let answer = if self.repeats {
            self.link.repeated(operation).await?
        } else {
            self.link.once(operation).await?
        };
        T::from_redis_value(answer).map_err(|error| unexpected(error.to_string()))
    }
}
