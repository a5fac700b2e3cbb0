//! One subscription for all answers.

use std::{
    collections::HashMap,
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use async_nats::{
    Client, HeaderMap, Message, PublishError, StatusCode, Subject, Subscriber, client::PublishErrorKind,
};
use bytes::Bytes;
use convoke_core::{Envelope, TransportError, TransportErrorKind};
use futures_util::StreamExt;
use tokio::{sync::oneshot, time::Instant};

use crate::{Error, link::Link, task::Task, wire::token::Token};

/// Sends requests and hands each answer to the call that waits for it.
///
/// In place of `async_nats::Client::request`, which keeps an entry for ever after a timeout, waits without limit
/// for room while the server is away, and does not notice a lost connection before its timeout.
#[derive(Debug)]
pub(crate) struct Inbox {
    link: Arc<Link>,
    prefix: String,
    calls: Arc<Calls>,
    _readers: [Task; 2],
}

#[derive(Debug, Default)]
struct Calls {
    next: AtomicU32,
    waiting: Mutex<HashMap<u32, oneshot::Sender<Message>>>,
}

impl Calls {
    fn lock(&self) -> MutexGuard<'_, HashMap<u32, oneshot::Sender<Message>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets the call when its future is dropped, whatever the reason. The reader forgot one that was answered.
struct Waiting<'a> {
    calls: &'a Calls,
    call: u32,
    answered: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.calls.lock().remove(&self.call);
        }
    }
}

impl Inbox {
    pub(crate) async fn open(link: Arc<Link>) -> Result<Self, Error> {
        let prefix = format!("{}.", link.client().new_inbox());
        let subscriber = link.client().subscribe(format!("{prefix}*")).await.map_err(Error::unavailable)?;
        let calls = Arc::new(Calls::default());
        let readers = [
            Task::spawn(read(subscriber, prefix.len(), Arc::clone(&calls))),
            Task::spawn(fail_on_breaks(Arc::clone(&link), Arc::clone(&calls))),
        ];
        Ok(Self { link, prefix, calls, _readers: readers })
    }

    /// Sends a message and waits for its answer. The token carries the envelope.
    pub(crate) fn request(
        &self,
        subject: impl Into<Subject>,
        headers: Option<HeaderMap>,
        payload: Bytes,
        envelope: Option<&Envelope>,
        deadline: Instant,
    ) -> impl Future<Output = Result<Message, TransportError>> + Send + '_ {
        let call = self.calls.next.fetch_add(1, Ordering::Relaxed);
        let token = envelope.map_or_else(|| Token::bare(call), |envelope| Token::of(envelope, call));
        let reply = Some(token.subject(&self.prefix).into());
        self.call(call, deadline, Letter { subject: subject.into(), reply, headers, payload })
    }

    /// Waits until the server has processed what this connection sent before: a message to ourselves came back.
    pub(crate) async fn barrier(&self, deadline: Instant) -> Result<(), TransportError> {
        let call = self.calls.next.fetch_add(1, Ordering::Relaxed);
        let subject = Token::bare(call).subject(&self.prefix).into();
        let letter = Letter { subject, reply: None, headers: None, payload: Bytes::new() };
        self.call(call, deadline, letter).await.map(drop)
    }

    async fn call(
        &self,
        call: u32,
        deadline: Instant,
        mut letter: Letter,
    ) -> Result<Message, TransportError> {
        let (answer, answered) = oneshot::channel();
        self.calls.lock().insert(call, answer);
        let mut waiting = Waiting { calls: &self.calls, call, answered: false };
        if deadline <= Instant::now() {
            return Err(TransportErrorKind::TimedOut.into()); // polling the send once would still send it
        }
        // asked after the call is known: a connection that breaks from here on fails it
        if !self.link.is_connected() {
            return Err(TransportErrorKind::Unavailable.into());
        }
        let mut sent = false;
        let outcome = tokio::time::timeout_at(deadline, async {
            letter.send(self.link.client()).await.map_err(send_error)?;
            sent = true;
            answered.await.map_err(|_| TransportError::from(TransportErrorKind::Disconnected))
        })
        .await;
        waiting.answered = matches!(outcome, Ok(Ok(_)));
        match outcome {
            Ok(Ok(message)) if message.status == Some(StatusCode::NO_RESPONDERS) => {
                Err(TransportErrorKind::NoHandler.into())
            }
            Ok(outcome) => outcome,
            Err(_) if sent => Err(TransportErrorKind::TimedOut.into()),
            // dropped before it had a place in the client's queue: it was never written
            Err(_) => {
                Err(TransportError::new(TransportErrorKind::Unavailable, "the connection takes no more"))
            }
        }
    }

    /// Calls that wait for an answer.
    pub(crate) fn waiting(&self) -> usize {
        self.calls.lock().len()
    }
}

/// A message on its way out.
struct Letter {
    subject: Subject,
    reply: Option<Subject>,
    headers: Option<HeaderMap>,
    payload: Bytes,
}

impl Letter {
    /// What is in it goes to the client as it is: a clone of fresh bytes allocates.
    async fn send(&mut self, client: &Client) -> Result<(), PublishError> {
        let subject = mem::replace(&mut self.subject, Subject::from_static("-"));
        let payload = mem::take(&mut self.payload);
        match (self.reply.take(), self.headers.take()) {
            (None, _) => client.publish(subject, payload).await,
            (Some(reply), None) => client.publish_with_reply(subject, reply, payload).await,
            (Some(reply), Some(headers)) => {
                // a box of its own: it is larger, and plain requests have no headers
                Box::pin(client.publish_with_reply_and_headers(subject, reply, headers, payload)).await
            }
        }
    }
}

fn send_error(error: PublishError) -> TransportError {
    match error.kind() {
        PublishErrorKind::MaxPayloadExceeded => TransportError::new(TransportErrorKind::TooLarge, error),
        PublishErrorKind::InvalidSubject => TransportError::new(TransportErrorKind::Refused, error),
        PublishErrorKind::Send => TransportError::new(TransportErrorKind::Unavailable, error),
    }
}

async fn read(mut subscriber: Subscriber, prefix_bytes: usize, calls: Arc<Calls>) {
    while let Some(message) = subscriber.next().await {
        let Some(token) = message.subject.get(prefix_bytes..).and_then(Token::read) else { continue };
        let waiting = calls.lock().remove(&token.call);
        if let Some(answer) = waiting {
            drop(answer.send(message)); // nobody waits any more: it gave up meanwhile
        }
    }
    calls.lock().clear(); // the connection was closed
}

async fn fail_on_breaks(link: Arc<Link>, calls: Arc<Calls>) {
    let mut state = link.watch();
    let mut breaks = state.borrow_and_update().breaks;
    while state.changed().await.is_ok() {
        let now = state.borrow_and_update().breaks;
        if now != breaks {
            breaks = now;
            let failed = mem::take(&mut *calls.lock());
            drop(failed); // each waiting call sees its sender go
        }
    }
}
