//! A request on its way: which node, how often, how long.
use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::FutureExt;
use tokio::time::{Instant, timeout_at};
use tracing::debug;

use crate::{
    Answered, BoxFuture, Codec, Envelope, Executed, Failed, Incoming, Invalid, Mediator, Message, Payload,
    SendError, Serve,
    context::outgoing,
    endpoint::{Asked, Direct},
    payload::take_answer,
};

pub(crate) use crate::endpoint::Sent;

/// Pauses before a repeat, with jitter: the first ones bridge a rolling restart.
const REPEAT_PAUSE: Duration = Duration::from_millis(20);
/// The longest pause before a repeat.
const REPEAT_PAUSE_MAX: Duration = Duration::from_millis(500);
/// Repeats of what certainly did not run, unless the command is idempotent.
const REPEATS_MAX: u32 = 3;

/// A command or a query on its way; await it.
#[must_use = "nothing is sent until it is awaited"]
#[derive(Debug)]
pub struct Call<'a, M> {
    mediator: &'a Mediator,
    message: M,
    timeout: Duration,
    key: Option<String>,
    headers: Vec<(String, String)>,
    local: bool,
}

/// A reply and what is known about it. See [`Call::detailed`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Replied<T> {
    /// The reply or the refusal.
    pub value: T,
    /// Whether an earlier run under the same key made it.
    pub replayed: bool,
}

impl<'a, M: Message> Call<'a, M> {
    pub(super) fn new(mediator: &'a Mediator, message: M, local: bool) -> Self {
        let timeout = mediator.node.config.request_timeout;
        Self { mediator, message, timeout, key: None, headers: Vec::new(), local }
    }

    /// How long to wait for the outcome; the handler's context shrinks with it. Default: the configuration's
    /// `request_timeout`. Inside a handler, never longer than that handler's own deadline.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The key under which an idempotent command runs once: 1 to 255 visible ASCII characters, made and kept by
    /// whoever may repeat it. Default: the message's id, so that only the repeats of this call are one.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Adds a header; the handler sees it as `cx.header(name)`.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Prefers this node when it has the handler. The default for queries.
    pub fn local(mut self) -> Self {
        self.local = true;
        self
    }

    /// Goes through the queue group also when this node has the handler. The default for commands.
    pub fn remote(mut self) -> Self {
        self.local = false;
        self
    }

    /// The same call, whose answer also tells whether it was replayed.
    #[expect(clippy::type_complexity, reason = "a reply or a refusal, each with what is known about it")]
    pub fn detailed(self) -> BoxFuture<'a, Result<Replied<M::Reply>, Replied<SendError<M::Error>>>> {
        Box::pin(async move {
            let (outcome, replayed) = self.run().await;
            match outcome {
                Ok(value) => Ok(Replied { value, replayed }),
                Err(value) => Err(Replied { value, replayed }),
            }
        })
    }

    fn begin(self) -> Begun<'a, M> {
        if let Some((direct, asked)) = self.near() {
            return Begun::Near(direct(asked, self.message));
        }
        Begun::Far(Box::pin(self.send().map(|(sent, _replayed)| sent)))
    }

    async fn run(self) -> (Sent<M>, bool) {
        match self.near() {
            Some((direct, asked)) => (uncancelled(direct(asked, self.message)).await, false),
            None => self.send().await,
        }
    }

    /// The typed way in, when the message stays in this process and meets no behaviour.
    fn near(&self) -> Option<(Direct<M>, Asked)> {
        if M::IDEMPOTENT || self.key.is_some() || self.mediator.is_view() {
            return None;
        }
        let node = &self.mediator.node;
        let own = if self.local { node.own_server(M::NAME) } else { None };
        let server = own.or_else(|| node.transport.in_process()?.pick(M::NAME))?;
        let direct = server.endpoint.direct::<M>()?;
        server.endpoint.admit_staging(&server.node).ok()?; // the long way answers why not
        let mut envelope = self.mediator.envelope_if_any();
        if !self.headers.is_empty() {
            add_headers::<M::Error>(envelope.get_or_insert_default(), &self.headers).ok()?;
        }
        let limit = self.timeout.min(server.endpoint.timeout);
        Some((direct, Asked { server, envelope, limit, outer: self.mediator.outer_deadline() }))
    }

    /// Through the transport, with repeats.
    async fn send(self) -> (Sent<M>, bool) {
        let Self { mediator, message, timeout, key, headers, local } = self;
        if mediator.is_view() {
            return (Err(Failed::fault("a view may not send: it is replayed at every start").into()), false);
        }
        let mut now = Instant::now();
        let deadline = mediator.deadline(now, timeout);
        let node = &mediator.node;
        let mut envelope = mediator.envelope();
        if let Err(error) = add_headers(&mut envelope, &headers) {
            return (Err(error), false);
        }
        if let Err(error) = set_key(&mut envelope, key) {
            return (Err(error), false);
        }
        envelope.id(); // made now, so that repeats carry the same
        let mut own = if local { node.own_server(M::NAME) } else { None };
        let message = outgoing(message, envelope);
        node.budget.deposit();
        let mut repeats = 0;
        loop {
            let mut message = message.clone();
            let attempt = attempt_deadline::<M>(now + node.config.attempt_timeout, deadline);
            let left = deadline.saturating_duration_since(now);
            message.envelope.expiry = Some(crate::Expiry::after_at(left, node.wall.unix_ms(now)));
            let answered = match &own {
                Some(server) => timeout_at(deadline, uncancelled(server.serve(arrived(message))))
                    .await
                    .unwrap_or(Answered::Failed(Failed::TimedOut)),
                None => ask(mediator, message, attempt).await,
            };
            let (outcome, replayed) = outcome::<M>(answered, &node.config.limits);
            let Err(error) = &outcome else { return (outcome, replayed) };
            now = Instant::now() + pause(repeats);
            if !may_repeat::<M>(error, repeats) || now >= deadline || !node.budget.withdraw() {
                return (outcome, replayed);
            }
            debug!(name = M::NAME, repeats, error = %error_text(error), "sending again");
            if matches!(error, SendError::Overloaded) {
                own = None; // elsewhere there may be room
            }
            repeats += 1;
            tokio::time::sleep_until(now).await;
        }
    }
}

impl<'a, M: Message> IntoFuture for Call<'a, M> {
    type Output = Sent<M>;
    type IntoFuture = Sending<'a, M>;

    fn into_future(self) -> Self::IntoFuture {
        Sending(Stage::Waiting(self))
    }
}

/// A call that is being awaited. It begins, and its time with it, when it is polled first.
#[must_use = "nothing is sent until it is awaited"]
pub struct Sending<'a, M: Message>(Stage<'a, M>);

enum Stage<'a, M: Message> {
    Waiting(Call<'a, M>),
    /// Through the transport, or near and not ready at once.
    Far(BoxFuture<'a, Sent<M>>),
    Ended,
}

enum Begun<'a, M: Message> {
    /// In this process: one box, which holds the handler's future.
    Near(BoxFuture<'static, Sent<M>>),
    Far(BoxFuture<'a, Sent<M>>),
}

// Nothing in it is pinned in place: futures are boxed, and a message is moved out before anything runs.
impl<M: Message> Unpin for Sending<'_, M> {}

impl<M: Message> Future for Sending<'_, M> {
    type Output = Sent<M>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Sent<M>> {
        let mut far = match std::mem::replace(&mut self.0, Stage::Ended) {
            Stage::Waiting(call) => match call.begin() {
                // as a rule it is ready, and was never kept
                Begun::Near(mut near) => match near.as_mut().poll(task) {
                    Poll::Ready(sent) => return Poll::Ready(sent),
                    Poll::Pending => Box::pin(in_a_task(near)),
                },
                Begun::Far(far) => far,
            },
            Stage::Far(far) => far,
            Stage::Ended => panic!("polled after it ended"),
        };
        let polled = far.as_mut().poll(task);
        if polled.is_pending() {
            self.0 = Stage::Far(far);
        }
        polled
    }
}

impl<M: Message> std::fmt::Debug for Sending<'_, M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sending").field("name", &M::NAME).finish_non_exhaustive()
    }
}

/// One attempt through the transport, which keeps the deadline: its contract, and a promise of its conformance
/// suite. A second timer here would be the dearest part of a short call.
async fn ask(mediator: &Mediator, message: crate::Outgoing, deadline: Instant) -> Answered {
    match mediator.node.transport.request(message, deadline).await {
        Ok(answered) => answered,
        Err(error) => Answered::Failed(error.into()),
    }
}

/// An idempotent command waits for one attempt only so long: its node may have died with the request.
fn attempt_deadline<M: Message>(attempt: Instant, deadline: Instant) -> Instant {
    if M::IDEMPOTENT { deadline.min(attempt) } else { deadline }
}

fn may_repeat<M: Message>(error: &SendError<M::Error>, repeats: u32) -> bool {
    match error {
        SendError::NoHandler | SendError::Overloaded => repeats < REPEATS_MAX,
        SendError::Disconnected | SendError::TimedOut => {
            M::IDEMPOTENT && error.executed() == Executed::Unknown
        }
        _ => false,
    }
}

fn pause(repeats: u32) -> Duration {
    let doubled = REPEAT_PAUSE.saturating_mul(1 << repeats.min(8)).min(REPEAT_PAUSE_MAX);
    let jitter = f64::from(uuid::Uuid::now_v7().as_bytes()[15]) / 255.0;
    doubled.mul_f64(0.5 + jitter)
}

fn error_text<E: std::fmt::Display>(error: &SendError<E>) -> String {
    error.to_string()
}

/// A message that did not leave the node.
fn arrived(message: crate::Outgoing) -> Incoming {
    Incoming {
        name: message.name.into(),
        payload: message.payload,
        envelope: message.envelope,
        received: Instant::now(),
        position: None,
    }
}

/// Polls once in place; what is not ready goes on as a task, so that a caller who stops waiting does not cancel
/// the handler: on another node it would not either.
async fn uncancelled<T: Send + 'static>(mut call: BoxFuture<'static, T>) -> T {
    if let Some(output) = poll_fn(|task| match call.as_mut().poll(task) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
    {
        return output;
    }
    in_a_task(call).await
}

/// Goes on as a task.
async fn in_a_task<T: Send + 'static>(call: BoxFuture<'static, T>) -> T {
    match tokio::spawn(call).await {
        Ok(output) => output,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => std::future::pending().await, // the runtime is shutting down, and this task with it
        },
    }
}

pub(super) fn set_key<E>(envelope: &mut Envelope, key: Option<String>) -> Result<(), SendError<E>> {
    let Some(key) = key else { return Ok(()) };
    let problem = Envelope::check_key(&key);
    problem.map_err(|problem| SendError::Invalid(Invalid::field("idempotency key", problem)))?;
    envelope.idempotency_key = Some(key.into());
    Ok(())
}

pub(super) fn add_headers<E>(
    envelope: &mut Envelope,
    headers: &[(String, String)],
) -> Result<(), SendError<E>> {
    for (name, value) in headers {
        envelope
            .headers
            .insert(name, value)
            .map_err(|problem| SendError::Invalid(Invalid::field(format!("header {name}"), problem)))?;
    }
    Ok(())
}

/// An answer with its types.
fn outcome<M: Message>(answered: Answered, limits: &crate::Limits) -> (Sent<M>, bool) {
    match answered {
        Answered::Replied { payload, replayed } => (read(payload, limits).map_err(SendError::from), replayed),
        Answered::Rejected { payload, replayed } => match read(payload, limits) {
            Ok(error) => (Err(SendError::Rejected(error)), replayed),
            Err(failed) => (Err(failed.into()), replayed),
        },
        Answered::Failed(failed) => (Err(failed.into()), false),
    }
}

/// An answer's value. One that cannot be read is a fault: the handler ran.
fn read<T: serde::Serialize + serde::de::DeserializeOwned + Send + Sync + 'static>(
    payload: Payload,
    limits: &crate::Limits,
) -> Result<T, Failed> {
    let payload = match payload {
        Payload::Answer(body) => match take_answer::<T>(body) {
            Ok(value) => return Ok(value),
            Err(body) => Payload::Answer(body),
        },
        other => other,
    };
    let unreadable = |error| Failed::fault(format!("the answer could not be read: {error}"));
    let (codec, bytes) = payload.encoded(Codec::default()).map_err(unreadable)?;
    codec.decode(&bytes, limits).map_err(unreadable)
}
