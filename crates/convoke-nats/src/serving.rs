//! Requests come in.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_nats::{Message, PublishError, Subject, Subscriber, client::PublishErrorKind};
use convoke_core::{Answered, Failed, Incoming, Payload, Serve};
use tokio::time::Instant;

mod stuck;

use crate::{
    inbox::Inbox,
    inline::{First, Inline, caught},
    leaving::leave,
    link::Link,
    post::post,
    pulse::Pulse,
    tally::Tally,
    troubles::Trouble,
    wire::{self, answer},
};
use stuck::Stuck;

/// How long the server may take to stop.
const STOP_WAIT: Duration = Duration::from_secs(5);
/// How often a member that is stuck looks whether it gets on.
const STUCK_LOOK: Duration = Duration::from_millis(100);

/// A member of a queue group.
pub(crate) struct Member {
    pub(crate) name: Arc<str>,
    /// Of what is sent to this node by its id, the wire name is in the subject, after so many bytes.
    pub(crate) name_after: Option<usize>,
    pub(crate) subject: String,
    pub(crate) group: String,
    pub(crate) link: Arc<Link>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) serve: Arc<dyn Serve>,
    pub(crate) tally: Arc<Tally>,
    pub(crate) pulse: Arc<Pulse>,
}

/// What a member remembers between requests.
#[derive(Default)]
struct Reading {
    inline: Inline,
    /// What was finished: where it was read, and in tasks.
    finished: u64,
    finished_later: Arc<AtomicU64>,
    stuck: Stuck,
}

impl Reading {
    fn finished(&self) -> u64 {
        self.finished + self.finished_later.load(Ordering::Relaxed)
    }
}

impl Member {
    pub(crate) async fn join(&self) -> Result<Subscriber, async_nats::SubscribeError> {
        self.link.client().queue_subscribe(self.subject.clone(), self.group.clone()).await
    }

    /// Reads until the node leaves. Never waits for a handler.
    pub(crate) async fn run(self, mut subscriber: Subscriber) {
        let tally = Arc::clone(&self.tally);
        let mut leaving = pin!(tally.leaving.wait());
        let mut reading = Reading::default();
        loop {
            tokio::select! {
                biased;
                message = reading.inline.next(&mut subscriber) => match message {
                    Some(message) => if self.accept(message, &mut reading) {
                        let Some(anew) = Box::pin(self.step_aside(subscriber, &mut reading)).await else { return };
                        subscriber = anew;
                    },
                    None => return, // the connection was closed
                },
                () = &mut leaving => return self.leave(subscriber, &mut reading).await,
            }
        }
    }

    /// The handlers are stuck: others get the requests until one of ours is done. `None` when the node leaves.
    async fn step_aside(&self, subscriber: Subscriber, reading: &mut Reading) -> Option<Subscriber> {
        let name = &*self.name;
        tracing::warn!(
            name,
            "the handlers are stuck: this node leaves the queue group until one of them is done"
        );
        self.link.troubles().tell(
            Trouble::Stuck,
            format!("the handlers of {name} were stuck and got no requests for a while: look at what they wait for"),
        );
        self.leave(subscriber, reading).await;
        let then = reading.finished();
        loop {
            tokio::select! {
                () = tokio::time::sleep(STUCK_LOOK) => {}
                () = self.tally.leaving.wait() => return None,
            }
            if reading.finished() > then
                && let Ok(anew) = self.join().await
            {
                tracing::info!(name, "the handlers go on: this node is in the queue group again");
                return Some(anew);
            }
        }
    }

    async fn leave(&self, subscriber: Subscriber, reading: &mut Reading) {
        let deadline = Instant::now() + STOP_WAIT;
        let accept = |message| {
            self.accept(message, reading); // whether they are stuck matters no more
        };
        leave(subscriber, &self.link, &self.inbox, deadline, accept).await;
    }

    /// Whether the handlers are stuck.
    fn accept(&self, message: Message, reading: &mut Reading) -> bool {
        let received = Instant::now();
        let (envelope, codec) = match wire::read(&message) {
            Ok(read) => (read.envelope, read.codec),
            Err(text) => {
                self.answer(message.reply.as_ref(), Answered::Failed(Failed::Undecodable(text)));
                return false;
            }
        };
        let held_up = self.pulse.held_up(received);
        if !held_up.is_zero() && envelope.expiry.is_some_and(|expiry| expiry.remaining <= held_up) {
            self.link.troubles().count(Trouble::StaleRequest);
            self.answer(message.reply.as_ref(), Answered::Failed(Failed::Overloaded)); // it did not run
            return false;
        }
        let payload = Payload::Bytes { codec, bytes: message.payload };
        let arrived = received.checked_sub(held_up).unwrap_or(received);
        let name = match self.name_after {
            None => Arc::clone(&self.name),
            Some(bytes) => message.subject.get(bytes..).unwrap_or_default().into(),
        };
        let incoming = Incoming { name, payload, envelope, received: arrived, position: None };
        match reading.inline.first(received, || self.serve.serve(incoming)) {
            First::Ready(answered) => {
                let refused = matches!(answered, Answered::Failed(Failed::Overloaded));
                reading.finished += u64::from(!refused);
                self.tally.finished.fetch_add(1, Ordering::Relaxed);
                self.answer(message.reply.as_ref(), answered);
                if refused {
                    return reading.stuck.refused(received, reading.finished());
                }
            }
            First::Panicked(text) => {
                self.answer(message.reply.as_ref(), Answered::Failed(Failed::fault(text)))
            }
            First::Pending(future) => {
                let running = self.tally.begin();
                let (tally, link, reply) = (Arc::clone(&self.tally), Arc::clone(&self.link), message.reply);
                let finished = Arc::clone(&reading.finished_later);
                tokio::spawn(async move {
                    let _running = running;
                    tokio::select! {
                        outcome = caught(future) => {
                            tally.finished.fetch_add(1, Ordering::Relaxed);
                            if !matches!(outcome, Ok(Answered::Failed(Failed::Overloaded))) {
                                finished.fetch_add(1, Ordering::Relaxed);
                            }
                            answer(&link, reply.as_ref(), outcome.unwrap_or_else(|text| Answered::Failed(Failed::fault(text))));
                        }
                        () = tally.cut.wait() => {}
                    }
                });
            }
        }
        false
    }

    fn answer(&self, reply: Option<&Subject>, answered: Answered) {
        answer(&self.link, reply, answered);
    }
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
