//! Messages that nobody waits for: replies and acknowledgements, and requests for events.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use async_nats::{Client, HeaderMap, PublishError, Subject};
use bytes::Bytes;
use tokio::task::unconstrained;

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
    queue(client, Post { subject, reply: None, headers, payload })
}

/// The same of a question, with where its answers go.
///
/// # Errors
/// As with [`post`].
pub(crate) fn post_asking(
    client: &Client,
    subject: &Subject,
    reply: &Subject,
    payload: Bytes,
) -> Result<(), PublishError> {
    queue(client, Post { subject, reply: Some(reply), headers: None, payload })
}

#[derive(Clone)]
struct Post<'a> {
    subject: &'a Subject,
    reply: Option<&'a Subject>,
    headers: Option<HeaderMap>,
    payload: Bytes,
}

fn queue(client: &Client, post: Post<'_>) -> Result<(), PublishError> {
    // whether there is room, and not whether this task has had its share of time: it takes no time
    let mut now = pin!(unconstrained(post.clone().send(client)));
    match now.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => {
            // a send that is dropped before it has a place was not made
            let Post { subject, reply, headers, payload } = post;
            let (client, subject, reply) = (client.clone(), subject.clone(), reply.cloned());
            tokio::spawn(async move {
                let later = Post { subject: &subject, reply: reply.as_ref(), headers, payload }.send(&client);
                drop(tokio::time::timeout(ROOM_WAIT, later).await);
            });
            Ok(())
        }
    }
}

impl Post<'_> {
    async fn send(self, client: &Client) -> Result<(), PublishError> {
        let Self { subject, reply, headers, payload } = self;
        let subject = subject.clone();
        match (reply, headers) {
            (Some(reply), _) => client.publish_with_reply(subject, reply.clone(), payload).await,
            (None, None) => client.publish(subject, payload).await,
            (None, Some(headers)) => client.publish_with_headers(subject, headers, payload).await,
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use convoke_testing::servers::NatsServer;
    use futures_util::StreamExt;
    use tokio::runtime::Handle;

    use super::*;
    use crate::{Config, link::Link};

    /// What tokio lets a task do before it asks it to yield is 128 operations.
    const MESSAGES: usize = 1000;

    #[tokio::test]
    async fn many_at_once_go_out_in_order_and_without_a_task() {
        let test = "many_at_once_go_out_in_order_and_without_a_task";
        let Some(server) = NatsServer::start_or_skip(test).await else { return };
        let link = Link::connect(&Config::new(server.url())).await.expect("a link");
        let subscriber = link.client().subscribe("s").await.expect("a subscription");
        let tasks = || Handle::current().metrics().num_alive_tasks();
        let before = tasks();
        for number in 0..MESSAGES {
            let payload = number.to_string().into();
            post(link.client(), &"s".into(), None, payload).expect("the queue takes it");
        }
        assert_eq!(tasks(), before);
        let received = subscriber.take(MESSAGES).map(|message| message.payload).collect::<Vec<_>>();
        let received = tokio::time::timeout(ROOM_WAIT, received).await.expect("all came");
        assert!(
            received.iter().enumerate().all(|(number, payload)| **payload == *number.to_string().as_bytes())
        );
    }
}
