use std::{
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use async_nats::{Client, HeaderMap, PublishError, Subject, client::PublishErrorKind};
use bytes::Bytes;
use convoke_core::{TransportError, TransportErrorKind};

use super::calls::Calls;
use crate::link::Link;

/// A message on its way out.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) subject: Subject,
    pub(super) reply: Option<Subject>,
    pub(super) headers: Option<HeaderMap>,
    pub(super) payload: Bytes,
}

impl Letter {
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

/// Sends what calls have to say, all of it at once.
///
/// The client's task is woken by the first letter and writes what it finds. Handed over one by one, most letters of
/// tasks that run at the same time would get a system call each, here and at the server.
pub(super) async fn write(link: Arc<Link>, calls: Arc<Calls>) {
    let client = link.client();
    let mut letters = Vec::new();
    loop {
        if calls.unsent().await {
            others_first().await;
        }
        calls.take(&mut letters);
        let mut rest = letters.drain(..);
        while let Some((number, letter)) = rest.next() {
            let mut sending = pin!(letter.publish(client));
            let sent = match poll_once(sending.as_mut()) {
                Poll::Ready(sent) => sent,
                Poll::Pending => {
                    // no room: whoever gives up meanwhile is not sent
                    calls.put_back(&mut rest);
                    sending.await
                }
            };
            if let Err(error) = sent {
                calls.answer(number, Err(send_error(error)));
            }
        }
    }
}

/// Goes behind the tasks that are ready now, which may have something to send.
async fn others_first() {
    let mut waited = false;
    std::future::poll_fn(|task| {
        if waited {
            return Poll::Ready(());
        }
        waited = true;
        task.waker().wake_by_ref(); // in place of `yield_now`, which goes behind those that become ready, too
        Poll::Pending
    })
    .await;
}

fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn send_error(error: PublishError) -> TransportError {
    match error.kind() {
        PublishErrorKind::MaxPayloadExceeded => TransportError::new(TransportErrorKind::TooLarge, error),
        PublishErrorKind::InvalidSubject => TransportError::new(TransportErrorKind::Refused, error),
        PublishErrorKind::Send => TransportError::new(TransportErrorKind::Unavailable, error),
    }
}
