//! Requests come in.

use std::{pin::pin, sync::Arc, sync::atomic::Ordering, time::Duration};

use async_nats::{Message, PublishError, Subject, Subscriber, client::PublishErrorKind};
use convoke_core::{Answered, Failed, Incoming, Payload, Serve};
use futures_util::StreamExt;
use tokio::time::Instant;

use crate::{
    inline::{First, Inline, caught},
    link::Link,
    post::post,
    tally::Tally,
    wire::{self, answer},
};

/// More requests than can be on their way when a node says that it leaves.
const ON_THE_WAY_MAX: u64 = 512;
/// So many may be on their way even when hardly any arrive.
const ON_THE_WAY_MIN: u64 = 8;
/// A leaving member that heard nothing for so long was told about by everybody.
const LEAVE_IDLE: Duration = Duration::from_millis(200);
/// How often a leaving member estimates anew what is on its way.
const LEAVE_STEP: Duration = Duration::from_millis(100);

/// A member of a queue group.
pub(crate) struct Member {
    pub(crate) name: Arc<str>,
    pub(crate) subject: String,
    pub(crate) group: String,
    pub(crate) link: Arc<Link>,
    pub(crate) serve: Arc<dyn Serve>,
    pub(crate) tally: Arc<Tally>,
}

impl Member {
    pub(crate) async fn join(&self) -> Result<Subscriber, async_nats::SubscribeError> {
        self.link.client().queue_subscribe(self.subject.clone(), self.group.clone()).await
    }

    /// Reads until the node leaves. Never waits for a handler.
    pub(crate) async fn run(self, mut subscriber: Subscriber) {
        let tally = Arc::clone(&self.tally);
        let mut leaving = pin!(tally.leaving.wait());
        let mut link = self.link.watch();
        let mut inline = Inline::default();
        let mut received = 0;
        loop {
            tokio::select! {
                biased;
                message = subscriber.next() => match message {
                    Some(message) => {
                        received += 1;
                        self.accept(message, &mut inline);
                    }
                    None => return, // the connection was closed
                },
                () = &mut leaving => return self.leave(subscriber, received, inline).await,
                // The server counts a subscription's messages from the reconnect on, the client from its start.
                // Leaving without loss needs equal counts, and while the link is down a new start costs nothing.
                changed = link.changed() => if changed.is_ok() && !link.borrow_and_update().connected {
                    while let Some(Some(message)) = futures_util::FutureExt::now_or_never(subscriber.next()) {
                        self.accept(message, &mut inline);
                    }
                    if let Ok(anew) = self.join().await {
                        subscriber = anew;
                        received = 0;
                    }
                },
            }
        }
    }

    /// A plain unsubscribe loses what the server sends before it reads it. So the server is told a count of
    /// messages to stop after, which both sides know, and the count comes closer while little arrives.
    async fn leave(&self, mut subscriber: Subscriber, mut received: u64, mut inline: Inline) {
        let mut stop = received + ON_THE_WAY_MAX;
        if !self.link.is_connected() || stop_after(&mut subscriber, stop).await.is_none() {
            return;
        }
        let (mut last, mut last_received) = (Instant::now(), received);
        let mut step = tokio::time::interval_at(last + LEAVE_STEP, LEAVE_STEP);
        loop {
            tokio::select! {
                biased;
                message = subscriber.next() => match message {
                    Some(message) => {
                        received += 1;
                        last = Instant::now();
                        self.accept(message, &mut inline);
                    }
                    None => return, // both counts were reached
                },
                _ = step.tick() => {
                    if last.elapsed() >= LEAVE_IDLE {
                        return; // dropping it unsubscribes
                    }
                    let arrived = received - last_received;
                    last_received = received;
                    let nearer = received + (arrived * 2).clamp(ON_THE_WAY_MIN, ON_THE_WAY_MAX);
                    if nearer < stop {
                        stop = nearer;
                        if stop_after(&mut subscriber, stop).await.is_none() {
                            return;
                        }
                    }
                }
            }
        }
    }

    fn accept(&self, message: Message, inline: &mut Inline) {
        let received = Instant::now();
        let (envelope, codec) = match wire::read(&message) {
            Ok(read) => (read.envelope, read.codec),
            Err(text) => {
                return self.answer(message.reply.as_ref(), Answered::Failed(Failed::Undecodable(text)));
            }
        };
        if envelope.expiry.is_some_and(|expiry| expiry.is_stale()) {
            tracing::debug!(
                name = &*self.name,
                "a request that lay in a buffer until its caller gave up was dropped"
            );
            return;
        }
        let payload = Payload::Bytes { codec, bytes: message.payload };
        let incoming = Incoming { name: Arc::clone(&self.name), payload, envelope, received, position: None };
        match inline.first(received, || self.serve.serve(incoming)) {
            First::Ready(answered) => {
                self.tally.finished.fetch_add(1, Ordering::Relaxed);
                self.answer(message.reply.as_ref(), answered);
            }
            First::Panicked(text) => {
                self.answer(message.reply.as_ref(), Answered::Failed(Failed::fault(text)))
            }
            First::Pending(future) => {
                let running = self.tally.begin();
                let (tally, link, reply) = (Arc::clone(&self.tally), Arc::clone(&self.link), message.reply);
                tokio::spawn(async move {
                    let _running = running;
                    tokio::select! {
                        outcome = caught(future) => {
                            tally.finished.fetch_add(1, Ordering::Relaxed);
                            answer(&link, reply.as_ref(), outcome.unwrap_or_else(|text| Answered::Failed(Failed::fault(text))));
                        }
                        () = tally.cut.wait() => {}
                    }
                });
            }
        }
    }

    fn answer(&self, reply: Option<&Subject>, answered: Answered) {
        answer(&self.link, reply, answered);
    }
}

/// `None` when the connection was closed.
async fn stop_after(subscriber: &mut Subscriber, messages: u64) -> Option<()> {
    tokio::time::timeout(LEAVE_STEP, subscriber.unsubscribe_after(messages)).await.ok()?.ok()
}

fn answer(link: &Link, reply: Option<&Subject>, answered: Answered) {
    let Some(reply) = reply else { return }; // somebody published it, and waits for nothing
    let written = answer::write(answered);
    let bytes = written.payload.len();
    if let Err(err) = post(link.client(), reply, written.headers, written.payload) {
        unsendable(link, reply, bytes, &err);
    }
}

/// The caller learns now what it would else learn from its deadline.
fn unsendable(link: &Link, reply: &Subject, bytes: usize, error: &PublishError) {
    if error.kind() == PublishErrorKind::MaxPayloadExceeded {
        let text = format!("the reply has {bytes} bytes, more than the server's max_payload allows");
        let written = answer::write_failed(&Failed::fault(text));
        drop(post(link.client(), reply, written.headers, written.payload)); // it is small
    }
}
