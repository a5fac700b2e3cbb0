//! One subscription for all answers.

use std::{
    collections::HashMap,
    mem,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    task::{self, Poll, Waker},
};

use async_nats::{
    Client, HeaderMap, Message, PublishError, StatusCode, Subject, Subscriber, client::PublishErrorKind,
};
use bytes::Bytes;
use convoke_core::{BoxFuture, Envelope, TransportError, TransportErrorKind};
use futures_util::StreamExt;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

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

    /// Sends a message, now, and waits for its answer. The token carries the envelope.
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

    /// Sends before there is a future, so that the one which waits is small: most of a send's is not needed then.
    fn call(
        &self,
        call: u32,
        deadline: Instant,
        letter: Letter,
    ) -> impl Future<Output = Result<Message, TransportError>> + Send + '_ {
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting { calls: &self.calls, call, answered: false };
        self.calls.lock().insert(call, answer);
        let sent = if deadline <= Instant::now() {
            Err(TransportErrorKind::TimedOut.into())
        } else if !self.link.is_connected() {
            // asked after the call is known: a connection that breaks from here on fails it
            Err(TransportErrorKind::Unavailable.into())
        } else {
            letter.send(self.link.client())
        };
        answer_to(waiting, sent, answered, deadline)
    }

    /// Calls that wait for an answer.
    pub(crate) fn waiting(&self) -> usize {
        self.calls.lock().len()
    }
}

/// A send that found no room in the client's queue, and goes on.
type Later<'a> = BoxFuture<'a, Result<(), PublishError>>;

async fn answer_to(
    mut waiting: Waiting<'_>,
    sent: Result<Option<Later<'_>>, TransportError>,
    answered: oneshot::Receiver<Message>,
    deadline: Instant,
) -> Result<Message, TransportError> {
    if let Some(later) = sent? {
        // dropped before it had a place in the client's queue: it was never written
        let full = |_| TransportError::new(TransportErrorKind::Unavailable, "the connection takes no more");
        timeout_at(deadline, later).await.map_err(full)?.map_err(send_error)?;
    }
    let Ok(answer) = timeout_at(deadline, answered).await else {
        return Err(TransportErrorKind::TimedOut.into());
    };
    waiting.answered = answer.is_ok();
    match answer {
        Ok(message) if message.status == Some(StatusCode::NO_RESPONDERS) => {
            Err(TransportErrorKind::NoHandler.into())
        }
        Ok(message) => Ok(message),
        Err(_) => Err(TransportErrorKind::Disconnected.into()),
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
    /// Sends it now, or says what goes on sending it when there is no room.
    fn send(self, client: &Client) -> Result<Option<Later<'_>>, TransportError> {
        let done = |sent: Result<(), PublishError>| sent.map(|()| None).map_err(send_error);
        if self.headers.is_some() {
            let mut sending = Box::pin(self.publish(client));
            return match poll_once(sending.as_mut()) {
                Poll::Ready(sent) => done(sent),
                Poll::Pending => Ok(Some(sending)),
            };
        }
        // Without headers, to keep what it is made of is cheaper than a box. Nothing is sent twice: a send that
        // is dropped before it has a place was not made.
        let (subject, reply, payload) = (self.subject.clone(), self.reply.clone(), self.payload.clone());
        match poll_once(pin!(self.publish(client))) {
            Poll::Ready(sent) => done(sent),
            Poll::Pending => {
                Ok(Some(Box::pin(Self { subject, reply, headers: None, payload }.publish(client))))
            }
        }
    }

    async fn publish(self, client: &Client) -> Result<(), PublishError> {
        let Self { subject, reply, headers, payload } = self;
        match (reply, headers) {
            (None, _) => client.publish(subject, payload).await,
            (Some(reply), None) => client.publish_with_reply(subject, reply, payload).await,
            (Some(reply), Some(headers)) => {
                client.publish_with_reply_and_headers(subject, reply, headers, payload).await
            }
        }
    }
}

fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut task::Context::from_waker(Waker::noop()))
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
