//! Handling events: every local handler of one consumer, each in its order, with its retries and its mark.
mod marks;
mod order;

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};
use tracing::{error, warn};
use uuid::Uuid;

use crate::{
    Audience, BoxFuture, Claim, ClaimKey, Claimed, Consume, Context, DeadLetter, Delivery, Failed, Fault,
    Holder, Incoming, MessageBody, Settled, StoredOutcome,
    endpoint::{Endpoint, Held, under_lease},
    node::NodeInner,
};
use marks::Marks;
use order::{Order, Ticket};

/// How long one attempt to bury a dead letter may take before it is tried again.
const BURY_TIMEOUT: Duration = Duration::from_secs(5);

/// The pause between looks at a store or broker that is away.
const AWAY_PAUSE: Duration = Duration::from_millis(500);

/// The handlers of one consumer.
pub(crate) struct Consumer {
    pub(crate) node: Arc<NodeInner>,
    pub(crate) audience: Audience,
    /// By wire name.
    pub(crate) handlers: HashMap<&'static str, Vec<Arc<Endpoint>>>,
    order: Order,
    marks: Option<Marks>,
}

/// One event and one handler of it.
struct Job {
    endpoint: Arc<Endpoint>,
    body: Arc<dyn MessageBody>,
    incoming: Incoming,
    ticket: Ticket,
    /// Whether the event has other handlers here.
    shared: bool,
}

/// How a handler is done with an event.
enum Done {
    /// It handled it, had handled it before, or its dead letter is stored.
    Settled,
    /// The node stops: somebody else, or this node later, handles it.
    Stopping,
}

impl Consumer {
    pub(crate) fn new(
        node: Arc<NodeInner>,
        audience: Audience,
        handlers: HashMap<&'static str, Vec<Arc<Endpoint>>>,
    ) -> Self {
        let marks = (audience == Audience::Node).then(|| Marks::new(&node));
        Self { node, audience, handlers, order: Order::default(), marks }
    }

    /// Reads the event and takes a place in the order of each handler. No await: calls come in stream order.
    fn jobs(&self, incoming: &Incoming) -> Result<Vec<Job>, Failed> {
        let Some(endpoints) = self.handlers.get(&*incoming.name) else { return Ok(Vec::new()) };
        let mut jobs = Vec::with_capacity(endpoints.len());
        for (index, endpoint) in endpoints.iter().enumerate() {
            let body = endpoint
                .read(&incoming.payload, &self.node.config.limits)
                .map_err(|error| Failed::Undecodable(error.to_string()))?;
            let key = match self.audience {
                Audience::View => Some(String::new()), // a view sees its stream in order
                _ => body.key(),
            };
            let ticket = self.order.enter(incoming.name.clone(), index, key);
            let (endpoint, incoming, shared) = (endpoint.clone(), incoming.clone(), endpoints.len() > 1);
            jobs.push(Job { endpoint, body, incoming, ticket, shared });
        }
        Ok(jobs)
    }

    async fn settle(&self, incoming: Incoming, jobs: Result<Vec<Job>, Failed>) -> Settled {
        let jobs = match jobs {
            Ok(jobs) => jobs,
            Err(failed) => return self.settle_unreadable(incoming, failed).await,
        };
        let position = incoming.position;
        if let (Some(marks), Some(position)) = (&self.marks, position)
            && !marks.open(position, &self.node).await
        {
            return Settled::HandBack;
        }
        let done = join_all(jobs.into_iter().map(|job| self.handle(job))).await;
        if done.iter().any(|done| matches!(done, Done::Stopping)) {
            return Settled::HandBack;
        }
        if let (Some(marks), Some(position)) = (&self.marks, position) {
            marks.close(position);
            if !marks.save(&self.node).await {
                return Settled::HandBack;
            }
        }
        Settled::Done
    }

    async fn settle_unreadable(&self, incoming: Incoming, failed: Failed) -> Settled {
        error!(name = &*incoming.name, %failed, "an event could not be read");
        if self.audience == Audience::View {
            return Settled::Done; // the other consumers bury it; a replay must not do so at every start
        }
        let letter = DeadLetter {
            message: incoming,
            handler: String::new(),
            node: self.node.identity.node.clone(),
            errors: vec![failed.to_string()],
            attempts: 0,
        };
        match self.bury(letter).await {
            Done::Settled => Settled::Done,
            Done::Stopping => Settled::HandBack,
        }
    }

    /// One handler and one event, to the end.
    async fn handle(&self, job: Job) -> Done {
        let Job { endpoint, body, incoming, mut ticket, shared } = job;
        ticket.turn().await;
        match &self.audience {
            Audience::Node => {
                let title = &endpoint.info.title;
                if let (Some(marks), Some(position)) = (&self.marks, incoming.position) {
                    if marks.contains(position, title) {
                        return Done::Settled;
                    }
                    let done = self.attempts(&endpoint, body, &incoming, None).await;
                    if matches!(done, Done::Settled) {
                        marks.add(position, title);
                        if shared && !marks.save(&self.node).await {
                            return Done::Stopping; // another handler may be at it for long: not again after a crash
                        }
                    }
                    return done;
                }
                self.attempts(&endpoint, body, &incoming, None).await
            }
            Audience::View => self.attempts(&endpoint, body, &incoming, None).await,
            Audience::Group(group) => self.handle_claimed(group, &endpoint, body, &incoming).await,
        }
    }

    /// A group's handler: one completed run per event over all nodes of the group.
    async fn handle_claimed(
        &self,
        group: &str,
        endpoint: &Endpoint,
        body: Arc<dyn MessageBody>,
        incoming: &Incoming,
    ) -> Done {
        let (node, claims) = (&self.node, &self.node.stores.claims);
        let id = incoming.envelope.id();
        let key = ClaimKey {
            scope: format!(
                "{}:{}:{group}:{}",
                node.identity.namespace, node.identity.service, endpoint.info.title
            ),
            key: id.to_string(),
        };
        while !node.is_stopping() {
            let claim =
                Claim { owner: Uuid::now_v7(), message_id: id, fingerprint: 0, lease: node.config.lease };
            let since = Instant::now();
            match claims.claim(&key, claim).await {
                Ok(Claimed::Done(_)) => return Done::Settled,
                Ok(Claimed::Busy { remaining }) => claims.changed(&key, remaining.min(AWAY_PAUSE)).await,
                Ok(Claimed::Mismatch) => unreachable_fingerprint(&key),
                Ok(Claimed::Owned { fence, .. }) => {
                    let holder = Holder { owner: claim.owner, fence };
                    let run = self.attempts(endpoint, body.clone(), incoming, Some(holder));
                    match under_lease(claims, &key, Held { holder, since }, node.config.lease, run).await {
                        Some(Done::Settled) if self.complete(&key, holder).await => return Done::Settled,
                        Some(Done::Settled) | None => {
                            warn!(handler = endpoint.info.title, "a run was fenced")
                        }
                        Some(Done::Stopping) => {
                            let _ = claims.release(&key, holder).await; // else its lease ends
                            return Done::Stopping;
                        }
                    }
                }
                Err(error) => {
                    warn!(%error, "the claim store is away, the event waits");
                    node.pause(AWAY_PAUSE).await;
                }
            }
        }
        Done::Stopping
    }

    /// Stores that the event was handled. `false`: fenced.
    async fn complete(&self, key: &ClaimKey, holder: Holder) -> bool {
        let outcome = StoredOutcome { rejected: false, answer: bytes::Bytes::new() };
        while !self.node.is_stopping() {
            match self
                .node
                .stores
                .claims
                .complete(key, holder, outcome.clone(), self.node.config.retention)
                .await
            {
                Ok(stored) => return stored,
                Err(error) => {
                    warn!(%error, "a handled event could not be marked, trying again");
                    self.node.pause(AWAY_PAUSE).await;
                }
            }
        }
        false
    }

    /// Runs the handler until it succeeds or its attempts are used up, then buries the event.
    async fn attempts(
        &self,
        endpoint: &Endpoint,
        body: Arc<dyn MessageBody>,
        incoming: &Incoming,
        holder: Option<Holder>,
    ) -> Done {
        let (node, info) = (&self.node, &endpoint.info);
        let mut attempts = 0;
        loop {
            if node.is_stopping() {
                return Done::Stopping;
            }
            let deadline = Instant::now() + endpoint.timeout;
            let mut cx = Context::new(node.clone(), info.clone(), incoming.envelope.clone(), deadline);
            cx.set_attempts_before(attempts);
            if let Some(holder) = holder {
                cx.set_claim(holder.fence, incoming.envelope.id());
            }
            let fault = match endpoint.run(node, Delivery { body: body.clone(), cx: Arc::new(cx) }).await {
                Ok(_) => return Done::Settled,
                Err(Failed::Overloaded) => {
                    node.pause(AWAY_PAUSE).await; // its runs are all taken: not an attempt
                    continue;
                }
                Err(Failed::Faulted(fault)) => fault,
                Err(other) => Fault::new(other.to_string()),
            };
            attempts += 1;
            let (handler, event) = (&info.title, info.name);
            if fault.is_poison() || attempts >= node.config.attempts_max {
                error!(handler, event, attempts, %fault, "an event could not be handled");
                return self.give_up(incoming, handler, &fault, attempts).await;
            }
            let pause = fault.retry_after().unwrap_or_else(|| node.backoff(attempts));
            warn!(handler, event, attempts, ?pause, %fault, "an event handler failed, trying again");
            node.pause(pause).await;
        }
    }

    async fn give_up(&self, incoming: &Incoming, handler: &str, fault: &Fault, attempts: u32) -> Done {
        if self.audience == Audience::View {
            return Done::Settled; // a view is fed again at the next start; the log has the error
        }
        let letter = DeadLetter {
            message: incoming.clone(),
            handler: handler.to_owned(),
            node: self.node.identity.node.clone(),
            errors: fault.chain(),
            attempts,
        };
        self.bury(letter).await
    }

    /// Stores a dead letter, however long the broker is away: only then is the event settled.
    async fn bury(&self, letter: DeadLetter) -> Done {
        while !self.node.is_stopping() {
            match self.node.transport.bury(letter.clone(), Instant::now() + BURY_TIMEOUT).await {
                Ok(()) => return Done::Settled,
                Err(error) => {
                    warn!(%error, "a dead letter could not be stored, trying again");
                    self.node.pause(AWAY_PAUSE).await;
                }
            }
        }
        Done::Stopping
    }
}

/// Claims of events carry no fingerprint, so two of them cannot differ.
fn unreachable_fingerprint(key: &ClaimKey) {
    error!(scope = key.scope, "a claim of an event has a fingerprint: another program writes our records");
}

/// A consumer as a transport sees it.
pub(crate) struct Consuming(pub(crate) Arc<Consumer>);

impl Consume for Consuming {
    fn consume(&self, incoming: Incoming) -> BoxFuture<'static, Settled> {
        let consumer = self.0.clone();
        let jobs = consumer.jobs(&incoming); // before the first await, so that the order is the stream's
        Box::pin(async move { consumer.settle(incoming, jobs).await })
    }

    fn caught_up(&self) {
        self.0.node.caught_up(&self.0.audience);
    }
}

impl NodeInner {
    /// The pause after the `attempts`th faulted run: doubling, bounded, with jitter of a fifth.
    pub(crate) fn backoff(&self, attempts: u32) -> Duration {
        let doubled = self.config.backoff.saturating_mul(1_u32 << attempts.saturating_sub(1).min(16));
        let jitter = f64::from(Uuid::now_v7().as_bytes()[15]) / 255.0;
        doubled.min(self.config.backoff_max).mul_f64(0.8 + 0.4 * jitter)
    }

    /// Sleeps, but not longer than the node lives.
    pub(crate) async fn pause(&self, pause: Duration) {
        tokio::select! {
            () = sleep(pause) => {}
            () = self.stopping() => {}
        }
    }
}
