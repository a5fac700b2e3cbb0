//! Handling events and jobs: every local handler of one consumer, each in its order, with its retries and its
//! mark or claim.
mod attempts;
mod claimed;
mod led;
mod marks;
mod order;
mod park;
mod replay;

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::time::sleep;
use tracing::error;
use uuid::Uuid;

use crate::{
    Audience, BoxFuture, Consume, Failed, Incoming, MessageBody, Position, Replay, Settled,
    context::Staging,
    endpoint::{Endpoint, Server},
    node::NodeInner,
    relay::OVERTAKEN_MAX,
};
use attempts::Ended;
pub(crate) use led::SETTLE;
use marks::{Marked, Marks};
use order::{Order, Ticket};

/// The pause between looks at a store or broker that is away.
const AWAY_PAUSE: Duration = Duration::from_millis(500);

/// The handlers of one consumer.
pub(crate) struct Consumer {
    pub(crate) node: Arc<NodeInner>,
    pub(crate) audience: Audience,
    /// By wire name.
    pub(crate) handlers: HashMap<&'static str, Vec<Server>>,
    order: Order,
    marks: Option<Marks>,
}

/// One message and one handler of it.
struct Work {
    server: Server,
    body: Arc<dyn MessageBody>,
    arrived: Arrived,
    /// Whether the event has other handlers here.
    shared: bool,
}

/// A message as it came: from its stream, or back from the dead letters.
#[derive(Clone)]
struct Arrived {
    /// Shared by the handlers, and by the futures that hold it one in another.
    incoming: Arc<Incoming>,
    replay: Option<Arc<Replay>>,
    /// Whether later messages of its key wait behind its dead letter.
    holds: bool,
}

/// How a handler is done with a message.
enum Done {
    /// It handled it, or had handled it before.
    Handled,
    /// It gave it up, and the dead letter is stored.
    Buried,
    /// The node stops: somebody else, or this node later, handles it.
    Stopping,
}

impl Consumer {
    pub(crate) fn new(
        node: Arc<NodeInner>,
        audience: Audience,
        handlers: HashMap<&'static str, Vec<Arc<Endpoint>>>,
    ) -> Self {
        let here = |endpoint| Server::new(node.clone(), endpoint);
        let handlers = handlers.into_iter();
        let handlers = handlers.map(|(name, all)| (name, all.into_iter().map(here).collect())).collect();
        let marks = (audience == Audience::Node).then(|| Marks::new(&node));
        Self { node, audience, handlers, order: Order::default(), marks }
    }

    /// Reads the event and takes a place in the order of each handler. No await: calls come in stream order.
    fn works(&self, arrived: &Arrived) -> Result<Vec<(Work, Ticket)>, Failed> {
        let incoming = &arrived.incoming;
        let Some(servers) = self.handlers.get(&*incoming.name) else { return Ok(Vec::new()) };
        let mut works = Vec::with_capacity(servers.len());
        let wanted = |server: &Server| arrived.is_for(&server.endpoint.info.title);
        for (index, server) in servers.iter().enumerate().filter(|(_, server)| wanted(server)) {
            let body = server
                .endpoint
                .read(&incoming.payload, &self.node.config.limits)
                .map_err(|error| Failed::Undecodable(error.to_string()))?;
            let key = match self.audience {
                Audience::View => Some(String::new()), // a view sees its stream in order
                _ => body.key(),
            };
            let ticket = self.order.enter(incoming.name.clone(), index, key);
            let (server, arrived, shared) = (server.clone(), arrived.clone(), servers.len() > 1);
            works.push((Work { server, body, arrived, shared }, ticket));
        }
        Ok(works)
    }

    async fn settle(&self, arrived: &Arrived, works: Result<Vec<(Work, Ticket)>, Failed>) -> Settled {
        let mut works = match works {
            Ok(works) => works,
            Err(failed) => return Box::pin(self.settle_unreadable(arrived, failed)).await,
        };
        if let (Some(marks), Some(position)) = (&self.marks, arrived.incoming.position)
            && !marks.open(position, &self.node).await
        {
            return Settled::HandBack;
        }
        let stopping = match &mut *works {
            [(work, ticket)] => matches!(self.handle(work, ticket).await, Done::Stopping),
            works => Box::pin(self.handle_all(works)).await, // rare, and large
        };
        if stopping {
            return Settled::HandBack;
        }
        if let (Some(marks), Some(position)) = (&self.marks, arrived.incoming.position) {
            marks.close(position);
            if !marks.save(&self.node).await {
                return Settled::HandBack;
            }
        }
        Settled::Done
    }

    /// Whether one of them stopped before its end.
    async fn handle_all(&self, works: &mut [(Work, Ticket)]) -> bool {
        let done = join_all(works.iter_mut().map(|(work, ticket)| self.handle(work, ticket))).await;
        done.iter().any(|done| matches!(done, Done::Stopping))
    }

    async fn settle_unreadable(&self, arrived: &Arrived, failed: Failed) -> Settled {
        error!(name = &*arrived.incoming.name, %failed, "an event could not be read");
        if self.audience == Audience::View {
            return Settled::Done; // the other consumers bury it; a replay must not do so at every start
        }
        match self.bury(arrived, "", vec![failed.to_string()], 0).await {
            Done::Handled | Done::Buried => Settled::Done,
            Done::Stopping => Settled::HandBack,
        }
    }

    /// One handler and one event, to the end. What is rare is in boxes, so that this is small.
    async fn handle(&self, work: &Work, ticket: &mut Ticket) -> Done {
        ticket.turn().await;
        if self.is_marked(work) {
            ticket.leave();
            return Done::Handled;
        }
        let done = match ticket.key() {
            Some(key) if work.endpoint().parks() || work.arrived.holds => {
                Box::pin(self.handle_parking(key, work)).await
            }
            _ if work.arrived.replay.as_ref().is_some_and(|replay| replay.skip) => Done::Handled,
            _ => self.run_for(work).await,
        };
        ticket.leave();
        done
    }

    /// Where it is marked that a handler of every node is done with the message.
    fn marked(&self, work: &Work) -> Option<(&Marks, Position)> {
        let marked = self.marks.as_ref().zip(work.arrived.incoming.position);
        marked.filter(|_| work.arrived.replay.is_none())
    }

    fn is_marked(&self, work: &Work) -> bool {
        self.marked(work).is_some_and(|(marks, position)| marks.contains(position, work.title()))
    }

    /// What was parked is done with, too.
    async fn handle_parking(&self, key: &str, work: &Work) -> Done {
        let done = self.handle_or_park(key, work).await;
        match self.marked(work) {
            Some((marks, position)) if !matches!(done, Done::Stopping) => {
                if self.mark((marks, position), work).await { done } else { Done::Stopping }
            }
            _ => done,
        }
    }

    async fn run_for(&self, work: &Work) -> Done {
        match &self.audience {
            Audience::Node if work.arrived.replay.is_some() => Box::pin(self.handle_replay(work)).await,
            Audience::Node => match self.marked(work) {
                Some(marked) => self.handle_marked(marked, work).await,
                None => self.run(work).await,
            },
            Audience::View => self.run(work).await,
            Audience::Group(group) => Box::pin(self.handle_in_group(group, work)).await,
            Audience::Jobs => Box::pin(self.handle_job(work)).await,
        }
    }

    /// A handler of every node: its mark, and with the mark what it staged.
    async fn handle_marked(&self, marked: (&Marks, Position), work: &Work) -> Done {
        let mut ended = self.attempts(work, None).await;
        let staging = ended.take_staging();
        if !staging.is_empty() {
            return Box::pin(self.mark_staged(marked, work, ended, staging)).await;
        }
        let done = self.conclude(ended, work).await;
        let stops = matches!(done, Done::Stopping) || !self.mark(marked, work).await;
        if stops { Done::Stopping } else { done }
    }

    /// The handler is done with the message. When it is the only one, that the message is settled says so, which is
    /// marked next. Another handler may be at it for long: then it is written at once, so that this one does not run
    /// again after a crash. `false` when the node stops before that.
    async fn mark(&self, (marks, position): (&Marks, Position), work: &Work) -> bool {
        if !work.shared {
            return true;
        }
        marks.add(position, work.title());
        Box::pin(marks.save(&self.node)).await
    }

    /// Stores what the handler staged with its mark, and runs it again when another writer was faster.
    async fn mark_staged(
        &self,
        (marks, position): (&Marks, Position),
        work: &Work,
        mut ended: Ended,
        mut staging: Staging,
    ) -> Done {
        let mut overtaken = 0;
        loop {
            if overtaken >= OVERTAKEN_MAX {
                ended = Ended::overtaken(overtaken);
            }
            let done = self.conclude(ended, work).await;
            if matches!(done, Done::Stopping) {
                return done;
            }
            if staging.is_empty() || overtaken >= OVERTAKEN_MAX {
                return if self.mark((marks, position), work).await { done } else { Done::Stopping };
            }
            work.endpoint().note_staged();
            match marks.add_staged(position, work.title(), &staging, work.shared, &self.node).await {
                Marked::Done => return Done::Handled,
                Marked::Stopping => return Done::Stopping,
                Marked::Overtaken => overtaken += 1,
                Marked::Refused(error) => {
                    let done = self.conclude(Ended::refused(error), work).await;
                    let stops = matches!(done, Done::Stopping) || !self.mark((marks, position), work).await;
                    return if stops { Done::Stopping } else { done };
                }
            }
            ended = self.attempts(work, None).await;
            staging = ended.take_staging();
        }
    }
}

impl Work {
    fn endpoint(&self) -> &Endpoint {
        &self.server.endpoint
    }

    /// The handler's.
    fn title(&self) -> &str {
        &self.endpoint().info.title
    }
}

/// A consumer as a transport sees it.
pub(crate) struct Consuming(pub(crate) Arc<Consumer>);

impl Consume for Consuming {
    fn consume(&self, incoming: Incoming) -> BoxFuture<'static, Settled> {
        let arrived = Arrived { incoming: Arc::new(incoming), replay: None, holds: false };
        let consumer = self.0.clone();
        let works = consumer.works(&arrived); // before the first await, so that the order is the stream's
        Box::pin(async move { consumer.settle(&arrived, works).await })
    }

    fn replay(&self, incoming: Incoming, replay: Replay) -> BoxFuture<'static, Settled> {
        let holds = replay.holds;
        let arrived = Arrived { incoming: Arc::new(incoming), replay: Some(Arc::new(replay)), holds };
        let consumer = self.0.clone();
        let works = consumer.works(&arrived);
        Box::pin(async move { consumer.settle_replay(&arrived, works).await })
    }

    fn caught_up(&self) {
        self.0.node.caught_up(&self.0.audience);
    }
}

impl NodeInner {
    /// The pause after the `attempts`th faulted run: doubling, bounded, with jitter of a fifth.
    pub(crate) fn backoff(&self, first: Duration, attempts: u32) -> Duration {
        let doubled = first.saturating_mul(1_u32 << attempts.saturating_sub(1).min(16));
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
