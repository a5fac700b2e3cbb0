//! One subscription for all answers.

mod calls;
mod writer;

use std::sync::Arc;

use async_nats::{HeaderMap, Message, StatusCode, Subject, Subscriber};
use bytes::Bytes;
use convoke_core::{Envelope, TransportError, TransportErrorKind};
use futures_util::StreamExt;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use crate::{Error, link::Link, task::Task, wire::token::Token};
use calls::{Answer, Calls, Waiting};
use writer::Letter;

/// Sends requests and hands each answer to the call that waits for it.
///
/// In place of `async_nats::Client::request`, which keeps an entry for ever after a timeout, waits without limit
/// for room while the server is away, and does not notice a lost connection before its timeout.
#[derive(Debug)]
pub(crate) struct Inbox {
    link: Arc<Link>,
    prefix: String,
    calls: Arc<Calls>,
    _tasks: [Task; 3],
}

impl Inbox {
    pub(crate) async fn open(link: Arc<Link>) -> Result<Self, Error> {
        let prefix = format!("{}.", link.client().new_inbox());
        let subscriber = link.client().subscribe(format!("{prefix}*")).await.map_err(Error::unavailable)?;
        let calls = Arc::new(Calls::default());
        let tasks = [
            Task::spawn(read(subscriber, prefix.len(), Arc::clone(&calls))),
            Task::spawn(fail_on_breaks(Arc::clone(&link), Arc::clone(&calls))),
            Task::spawn(writer::write(Arc::clone(&link), Arc::clone(&calls))),
        ];
        Ok(Self { link, prefix, calls, _tasks: tasks })
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
        let call = self.calls.number();
        let token = envelope.map_or_else(|| Token::bare(call), |envelope| Token::of(envelope, call));
        let reply = Some(token.subject(&self.prefix).into());
        self.call(call, deadline, Letter { subject: subject.into(), reply, headers, payload })
    }

    /// Waits until the server has processed what this connection sent before: a message to ourselves came back.
    pub(crate) async fn barrier(&self, deadline: Instant) -> Result<(), TransportError> {
        let call = self.calls.number();
        let subject = Token::bare(call).subject(&self.prefix).into();
        let letter = Letter { subject, reply: None, headers: None, payload: Bytes::new() };
        self.call(call, deadline, letter).await.map(drop)
    }

    /// Begins before there is a future, so that the one which waits is small.
    fn call(
        &self,
        number: u32,
        deadline: Instant,
        letter: Letter,
    ) -> impl Future<Output = Result<Message, TransportError>> + Send + '_ {
        let begun = if deadline <= Instant::now() {
            Err(TransportErrorKind::TimedOut)
        } else {
            let connected = || self.link.is_connected();
            self.calls.begin(number, letter, connected).ok_or(TransportErrorKind::Unavailable)
        };
        async move {
            let (waiting, answered) = begun?;
            outcome(waiting, answered, deadline).await
        }
    }

    /// Calls that wait for an answer.
    pub(crate) fn waiting(&self) -> usize {
        self.calls.waiting()
    }
}

async fn outcome(
    waiting: Waiting<'_>,
    answered: oneshot::Receiver<Answer>,
    deadline: Instant,
) -> Result<Message, TransportError> {
    let Ok(answer) = timeout_at(deadline, answered).await else {
        return Err(if waiting.give_up() {
            TransportErrorKind::TimedOut.into()
        } else {
            TransportError::new(TransportErrorKind::Unavailable, "the connection takes no more") // not sent
        });
    };
    waiting.answered();
    match answer {
        Ok(Ok(message)) if message.status == Some(StatusCode::NO_RESPONDERS) => {
            Err(TransportErrorKind::NoHandler.into())
        }
        Ok(answer) => answer,
        Err(_) => Err(TransportErrorKind::Disconnected.into()),
    }
}

async fn read(mut subscriber: Subscriber, prefix_bytes: usize, calls: Arc<Calls>) {
    while let Some(message) = subscriber.next().await {
        let Some(token) = message.subject.get(prefix_bytes..).and_then(Token::read) else { continue };
        calls.answer(token.call, Ok(message));
    }
    calls.fail(); // the connection was closed
}

async fn fail_on_breaks(link: Arc<Link>, calls: Arc<Calls>) {
    let mut state = link.watch();
    let mut breaks = state.borrow_and_update().breaks;
    while state.changed().await.is_ok() {
        let now = state.borrow_and_update().breaks;
        if now != breaks {
            breaks = now;
            calls.fail();
        }
    }
}
