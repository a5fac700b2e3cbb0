//! The way to Redis: every call has a deadline, and a dead connection is replaced.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use convoke_core::StoreError;
use redis::{Cmd, ErrorKind, RedisResult, ServerErrorKind, Value};
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{debug, warn};

use crate::config::Config;
use crate::error::{Error, Verdict, store_error, verdict};
use crate::script::Script;
use crate::waiters::Waiters;

mod attempt;
mod endpoint;
mod watchdog;
mod wire;

use attempt::Attempt;
pub(crate) use endpoint::Endpoint;
use watchdog::Watchdog;
use wire::Wire;

const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(200);

/// A connection that is replaced when it is dead.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) endpoint: Endpoint,
    channel: String,
    waiters: Arc<Waiters>,
    command_timeout: Duration,
    attempt_timeout: Duration,
    watchdog_timeouts: u32,
    line: Mutex<Arc<Line>>,
}

/// One connection, which reconnects by itself when it is closed, but not when it is silent.
#[derive(Debug)]
struct Line {
    wire: Wire,
    watchdog: Mutex<Watchdog>,
    listening: OnceCell<()>,
}

/// What one call does.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Operation<'a> {
    Command(&'a Cmd),
    Script { script: &'a Script, keys: &'a [&'a str], args: &'a [&'a [u8]] },
}

impl Link {
    /// Connects with the first call. Needs the runtime it will run on.
    pub(crate) fn new(config: &Config, channel: String, waiters: Arc<Waiters>) -> Result<Self, Error> {
        let endpoint = Endpoint::new(config)?;
        let wire = endpoint
            .wire(&waiters)
            .map_err(|error| Error::invalid(format!("redis: this cannot be connected to: {error}")))?;
        let watchdog = Watchdog::new(config.watchdog_timeouts, config.connect_timeout, Instant::now());
        Ok(Self {
            endpoint,
            channel,
            waiters,
            command_timeout: config.command_timeout,
            attempt_timeout: config.attempt_timeout,
            watchdog_timeouts: config.watchdog_timeouts,
            line: Mutex::new(Arc::new(Line::new(wire, watchdog))),
        })
    }

    /// Runs an operation once: when the answer is lost, nobody knows whether it ran.
    pub(crate) async fn once(&self, operation: Operation<'_>) -> Result<Value, StoreError> {
        self.attempt(operation, Instant::now() + self.command_timeout).await.map_err(store_error)
    }

    /// Runs an operation that may run several times as well as once, until it is answered or the time is up.
    pub(crate) async fn repeated(&self, operation: Operation<'_>) -> Result<Value, StoreError> {
        let deadline = Instant::now() + self.command_timeout;
        let mut pause = PAUSE_MIN;
        loop {
            let attempt_ends = deadline.min(Instant::now() + self.attempt_timeout);
            let error = match self.attempt(operation, attempt_ends).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let passes = matches!(verdict(&error), Verdict::Passing | Verdict::Demoted);
            if !passes || Instant::now() + pause >= deadline {
                return Err(store_error(error));
            }
            debug!(%error, "redis did not do it, will repeat");
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn attempt(&self, operation: Operation<'_>, deadline: Instant) -> RedisResult<Value> {
        let line = self.line();
        let attempt = Attempt::new(self, &line);
        match timeout_at(deadline, operation.run(&line.wire)).await {
            Ok(Err(error)) if error.is_io_error() => {
                attempt.broken();
                Err(error)
            }
            Ok(answer) => {
                attempt.answered();
                if let Err(error) = &answer
                    && matches!(verdict(error), Verdict::Demoted | Verdict::Unauthorized)
                {
                    self.replace_stale(&line);
                }
                answer
            }
            Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
        }
    }

    /// Makes wake-ups arrive, once per connection. Who may not subscribe waits by looking.
    pub(crate) async fn listen(&self) {
        let line = self.line();
        let deadline = Instant::now() + self.attempt_timeout;
        let subscribe =
            line.listening.get_or_try_init(async || match line.wire.subscribe(&self.channel).await {
                Err(error) if verdict(&error) == Verdict::Lasting => {
                    warn!(%error, "redis refuses the subscription, waiting callers will poll");
                    Ok(())
                }
                subscribed => subscribed,
            });
        match timeout_at(deadline, subscribe).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(%error, "no wake-ups from redis for now"),
            Err(_) => debug!("no wake-ups from redis for now"),
        }
    }

    fn line(&self) -> Arc<Line> {
        Arc::clone(&self.current())
    }

    fn current(&self) -> MutexGuard<'_, Arc<Line>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An attempt that began at `began` was given up unanswered.
    fn unanswered(&self, line: &Arc<Line>, began: Instant) {
        if line.watchdog().unanswered(began, Instant::now()) {
            warn!(attempts = self.watchdog_timeouts, "redis is silent, connecting anew");
            self.replace(line);
        }
    }

    fn replace_stale(&self, line: &Arc<Line>) {
        if line.watchdog().is_old(Instant::now()) {
            warn!("this connection to redis is of no use any more, connecting anew");
            self.replace(line);
        }
    }

    fn replace(&self, line: &Arc<Line>) {
        let mut current = self.current();
        // Somebody else may have seen it first.
        if Arc::ptr_eq(&current, line) {
            match self.endpoint.wire(&self.waiters) {
                Ok(wire) => *current = Arc::new(Line::new(wire, line.watchdog().reborn(Instant::now()))),
                Err(error) => warn!(%error, "no new connection to redis could be set up"),
            }
        }
    }
}

impl Line {
    fn new(wire: Wire, watchdog: Watchdog) -> Self {
        Self { wire, watchdog: Mutex::new(watchdog), listening: OnceCell::new() }
    }

    fn watchdog(&self) -> MutexGuard<'_, Watchdog> {
        self.watchdog.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Operation<'_> {
    async fn run(self, wire: &Wire) -> RedisResult<Value> {
        match self {
            Self::Command(cmd) => wire.send(cmd).await,
            Self::Script { script, keys, args } => match wire.send(&script.by_hash(keys, args)).await {
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                    wire.send(&script.by_source(keys, args)).await
                }
                answer => answer,
            },
        }
    }
}
