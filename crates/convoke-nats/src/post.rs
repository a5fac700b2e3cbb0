//! Messages that nobody waits for: replies and acknowledgements.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use async_nats::{Client, HeaderMap, PublishError, Subject};
use bytes::Bytes;

/// How long a reply may wait for room in the client's queue; after it, its caller has given up.
const ROOM_WAIT: Duration = Duration::from_secs(10);

/// Queues a message now; when the queue is full, from a task that waits for room. Never blocks the caller.
///
/// # Errors
/// When the message is larger than the server takes, or the connection was closed.
pub(crate) fn post(
    client: &Client,
    subject: &Subject,
    headers: Option<HeaderMap>,
    payload: Bytes,
) -> Result<(), PublishError> {
    let mut now = pin!(send(client, subject, headers.clone(), payload.clone()));
    match now.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => {
            // a send that is dropped before it has a place was not made
            let (client, subject) = (client.clone(), subject.clone());
            tokio::spawn(async move {
                let later = send(&client, &subject, headers, payload);
                drop(tokio::time::timeout(ROOM_WAIT, later).await);
            });
            Ok(())
        }
    }
}

async fn send(
    client: &Client,
    subject: &Subject,
    headers: Option<HeaderMap>,
    payload: Bytes,
) -> Result<(), PublishError> {
    match headers {
        None => client.publish(subject.clone(), payload).await,
        Some(headers) => client.publish_with_headers(subject.clone(), headers, payload).await,
    }
}
