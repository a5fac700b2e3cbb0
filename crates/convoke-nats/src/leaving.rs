//! Ends a subscription without losing what is on its way.

use std::pin::pin;

use async_nats::{Message, Subscriber};
use futures_util::{FutureExt, StreamExt};
use tokio::{
    task::unconstrained,
    time::{Instant, timeout_at},
};

use crate::{inbox::Inbox, link::Link};

/// A count of messages to stop after that is never reached. The server reads at most nine digits of it, takes a longer
/// number for none, and stops at once; our client waits for that many, and so hands on what was sent before.
const NEVER: u64 = u64::MAX;

/// A plain unsubscribe loses what the server sends before it reads it. So the server is told to stop while our side goes
/// on, until a message of our own has made its way: the server sends nothing after it that it sent us before it stopped.
pub(crate) async fn leave(
    mut subscriber: Subscriber,
    link: &Link,
    inbox: &Inbox,
    deadline: Instant,
    mut take: impl FnMut(Message),
) {
    if !link.is_connected() {
        return; // the server has forgotten us
    }
    if !matches!(timeout_at(deadline, subscriber.unsubscribe_after(NEVER)).await, Ok(Ok(()))) {
        return; // the connection was closed, or takes no more
    }
    let mut stopped = pin!(inbox.barrier(deadline));
    loop {
        tokio::select! {
            biased;
            message = subscriber.next() => match message {
                Some(message) => take(message),
                None => return,
            },
            _ = &mut stopped => break, // when it failed the link broke: nothing comes any more either
        }
    }
    // Unconstrained, because else a busy task is told that there is nothing while there is.
    while let Some(Some(message)) = unconstrained(subscriber.next()).now_or_never() {
        take(message);
    }
}
