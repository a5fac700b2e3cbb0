use std::{future::ready, time::Duration};

use futures_util::TryFutureExt;
use tokio::time::Instant;

use crate::{BoxFuture, Event, Failed, Mediator, Receipt, SendError, context::outgoing};

/// An event on its way; await it.
#[must_use = "nothing is published until it is awaited"]
#[derive(Debug)]
pub struct Publish<'a, E> {
    mediator: &'a Mediator,
    event: E,
    timeout: Duration,
    headers: Vec<(String, String)>,
}

impl<'a, E: Event> Publish<'a, E> {
    pub(super) fn new(mediator: &'a Mediator, event: E) -> Self {
        Self { mediator, event, timeout: mediator.node.config.request_timeout, headers: Vec::new() }
    }

    /// How long storing it may take. Default: the configuration's `request_timeout`.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Adds a header; handlers see it as `cx.header(name)`.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// What is done before there is a future, so that the one which waits is small.
    fn begin(
        self,
    ) -> Result<
        impl Future<Output = Result<Receipt, SendError<crate::Never>>> + Send + 'a,
        SendError<crate::Never>,
    > {
        let Self { mediator, event, timeout, headers } = self;
        if mediator.is_view() {
            return Err(Failed::fault("a view may not publish: it is replayed at every start").into());
        }
        event.validate().map_err(SendError::Invalid)?;
        let deadline = mediator.deadline(Instant::now(), timeout);
        let mut envelope = mediator.envelope();
        envelope.source = Some(mediator.node().into());
        super::call::add_headers(&mut envelope, &headers)?;
        let storing = mediator.node.transport.publish(outgoing(event, envelope), deadline);
        Ok(storing.map_err(|error| Failed::from(error).into()))
    }
}

impl<'a, E: Event> IntoFuture for Publish<'a, E> {
    type Output = Result<Receipt, SendError<crate::Never>>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        match self.begin() {
            Ok(storing) => Box::pin(storing),
            Err(error) => Box::pin(ready(Err(error))),
        }
    }
}
