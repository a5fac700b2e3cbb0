use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use uuid::Uuid;

use super::call::{add_headers, set_key};
use crate::{BoxFuture, Command, Failed, Invalid, Mediator, Never, SendError, context::outgoing};

/// A command on its way into the store of jobs; await it.
#[must_use = "nothing is enqueued until it is awaited"]
#[derive(Debug)]
pub struct Enqueue<'a, C> {
    mediator: &'a Mediator,
    command: C,
    /// `Err` when the delay reaches beyond what a clock can say.
    due: Result<Option<SystemTime>, Duration>,
    timeout: Duration,
    key: Option<String>,
    headers: Vec<(String, String)>,
}

/// A stored job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Enqueued {
    /// Its id: what [`Mediator::cancel`] takes while it is not due.
    pub id: Uuid,
    /// Whether a job of this id was stored before.
    pub duplicate: bool,
}

impl<'a, C: Command> Enqueue<'a, C> {
    pub(super) fn new(mediator: &'a Mediator, command: C) -> Self {
        let timeout = mediator.node.config.request_timeout;
        Self { mediator, command, due: Ok(None), timeout, key: None, headers: Vec::new() }
    }

    /// Runs it after a delay.
    pub fn after(mut self, delay: Duration) -> Self {
        self.due = SystemTime::now().checked_add(delay).map(Some).ok_or(delay);
        self
    }

    /// Runs it at a time, by the broker's clock; at once when that has passed.
    pub fn at(mut self, time: SystemTime) -> Self {
        self.due = Ok(Some(time));
        self
    }

    /// The key under which it runs once, sent or enqueued: 1 to 255 visible ASCII characters. Default: its id.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// How long storing it may take. Default: the configuration's `request_timeout`.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Adds a header; the handler sees it as `cx.header(name)`.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    async fn run(self) -> Result<Enqueued, SendError<Never>> {
        let Self { mediator, command, due, timeout, key, headers } = self;
        if mediator.is_view() {
            return Err(Failed::fault("a view may not enqueue: it is replayed at every start").into());
        }
        command.validate().map_err(SendError::Invalid)?;
        let too_far = |delay| Invalid::field("delay", format!("{delay:?} is later than a clock can say"));
        let due = due.map_err(|delay| SendError::Invalid(too_far(delay)))?;
        let deadline = mediator.deadline(Instant::now(), timeout);
        let mut envelope = mediator.envelope();
        envelope.source = Some(mediator.node().into());
        add_headers(&mut envelope, &headers)?;
        set_key(&mut envelope, key)?;
        let id = envelope.id();
        let stored = mediator.node.transport.enqueue(outgoing(command, envelope), due, deadline).await;
        stored
            .map(|receipt| Enqueued { id, duplicate: receipt.duplicate })
            .map_err(|error| Failed::from(error).into())
    }
}

impl<'a, C: Command> IntoFuture for Enqueue<'a, C> {
    type Output = Result<Enqueued, SendError<Never>>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
