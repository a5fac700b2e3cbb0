//! A node joins queue groups and reads from streams.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use convoke_core::{Audience, Consume, ConsumeSpec, Serve, ServeSpec, TransportError, TransportErrorKind};
use tokio::{
    sync::{Semaphore, oneshot},
    time::{Instant, timeout_at},
};

use super::{START_WAIT, Transport, jobs, no_name};
use crate::{
    Error,
    consuming::Consumer,
    lanes::{Members, Steward},
    names::{Lanes, Names, Source},
    net::Net,
    records::Records,
    serving::Member,
    task::Task,
};

/// How long joining a group may wait for room, and for the server to know.
const JOIN_WAIT: Duration = Duration::from_secs(2);
/// Dead letters that come back and are not settled yet, per consumer; in addition to its other messages.
const REPLAYS_IN_FLIGHT_MAX: usize = 16;
/// The consumer of what the server gave up.
const NET: &str = "net";

impl Transport {
    pub(super) async fn join(&self, spec: ServeSpec, serve: Arc<dyn Serve>) -> Result<(), TransportError> {
        let subject = self.names()?.request(spec.kind, spec.name).ok_or_else(|| no_name(spec.name))?;
        self.begin_serving(self.member(spec.name, subject, None, serve)?).await
    }

    /// Answers what is sent to this node by its id.
    pub(super) async fn join_by_id(&self, serve: Arc<dyn Serve>) -> Result<(), TransportError> {
        let prefix = self.names()?.forwarded();
        let member = self.member("forward", format!("{prefix}>"), Some(prefix.len()), serve)?;
        self.begin_serving(member).await
    }

    fn member(
        &self,
        name: &str,
        subject: String,
        name_after: Option<usize>,
        serve: Arc<dyn Serve>,
    ) -> Result<Member, TransportError> {
        Ok(Member {
            name: name.into(),
            name_after,
            subject,
            group: self.names()?.service.clone(),
            link: Arc::clone(&self.link),
            inbox: Arc::clone(&self.inbox),
            serve,
            tally: Arc::clone(&self.tally),
            pulse: Arc::clone(&self.pulse),
        })
    }

    async fn begin_serving(&self, member: Member) -> Result<(), TransportError> {
        let deadline = Instant::now() + JOIN_WAIT;
        let busy = || TransportError::new(TransportErrorKind::Unavailable, "the connection takes no more");
        let subscriber = timeout_at(deadline, member.join())
            .await
            .map_err(|_| busy())?
            .map_err(|error| TransportError::new(TransportErrorKind::Refused, error))?;
        self.tasks().loops.push(Task::spawn(member.run(subscriber)));
        if self.link.is_connected() {
            // when it fails the link just broke: the group is joined again when it is back
            drop(self.inbox.barrier(deadline).await);
        }
        Ok(())
    }

    pub(super) async fn attach(
        &self,
        spec: ConsumeSpec,
        consume: Arc<dyn Consume>,
    ) -> Result<(), TransportError> {
        let names = self.names()?;
        if let Some(bad) = spec.names.iter().find(|name| names.stored_in_all(Source::Events, name).is_none())
        {
            return Err(no_name(bad));
        }
        if spec.names.is_empty() {
            return Err(TransportError::new(TransportErrorKind::Refused, "a consumer of nothing"));
        }
        let name = names.consumer(&spec.audience, &self.instance)?;
        let running = (spec.audience == Audience::Jobs, name.clone());
        if !self.consumers.lock().unwrap_or_else(PoisonError::into_inner).insert(running) {
            let text = format!("the consumer {name} runs already: give one specification with all names");
            return Err(TransportError::new(TransportErrorKind::Refused, text));
        }
        let mut attached = Vec::new();
        if spec.audience != Audience::View {
            let replayed = names.replay_consumer(&spec.audience);
            let bound = spec.in_flight_max.min(REPLAYS_IN_FLIGHT_MAX);
            let spec = ConsumeSpec { in_flight_max: bound, ..spec.clone() };
            attached.push(self.start_consumer(Source::Replays, spec, Arc::clone(&consume), &replayed)?);
        }
        attached.extend(match spec.audience {
            Audience::Jobs => {
                let [waiting, due] = jobs::halves(spec);
                let waiting = self.start_consumer(Source::Jobs, waiting, Arc::clone(&consume), &name)?;
                vec![waiting, self.start_consumer(Source::Due, due, consume, &name)?]
            }
            _ => vec![self.start_consumer(Source::Events, spec, consume, &name)?],
        });
        if !self.link.is_connected() {
            return Ok(());
        }
        let deadline = Instant::now() + START_WAIT;
        for first in attached {
            if let Ok(Ok(outcome)) = timeout_at(deadline, first).await {
                outcome.map_err(TransportError::from)?;
            } // else it goes on in the background, and its health tells
        }
        Ok(())
    }

    /// What the server gives up becomes a dead letter; one node of all does it.
    pub(super) fn spread_net(&self, names: &Names) -> Result<(), TransportError> {
        let (inbox, publisher) = (Arc::clone(&self.inbox), Arc::clone(&self.publisher));
        let net = Arc::new(Net { names: names.clone(), inbox, publisher });
        let audience = Audience::Group(NET.to_owned());
        let spec = ConsumeSpec { audience, names: Vec::new(), in_flight_max: REPLAYS_IN_FLIGHT_MAX };
        self.start_consumer(Source::GivenUp, spec, net, NET).map(drop)
    }

    /// The first attach is told.
    fn start_consumer(
        &self,
        source: Source,
        spec: ConsumeSpec,
        consume: Arc<dyn Consume>,
        name: &str,
    ) -> Result<oneshot::Receiver<Result<(), Error>>, TransportError> {
        let (attached, first) = oneshot::channel();
        let consumer = Consumer {
            link: Arc::clone(&self.link),
            inbox: Arc::clone(&self.inbox),
            vitals: Arc::clone(&self.vitals),
            publisher: Arc::clone(&self.publisher),
            tally: Arc::clone(&self.tally),
            names: self.names()?.clone(),
            config: self.config.clone(),
            spec,
            consume,
            source,
            name: name.to_owned(),
            lanes: Lanes::All,
            room: None,
            over: None,
        };
        let running = match consumer.spec.audience.clone() {
            Audience::Group(group) if source == Source::Events => {
                Task::spawn(self.steward(consumer, group)?.run(attached))
            }
            _ => Task::spawn(consumer.run(attached)),
        };
        self.tasks().loops.push(running);
        Ok(first)
    }

    /// A group's lanes are divided over its nodes, and share the bound on what is in hand.
    fn steward(&self, consumer: Consumer, group: String) -> Result<Steward, TransportError> {
        let names = self.names()?;
        let room =
            Some(Arc::new(Semaphore::new(consumer.spec.in_flight_max.clamp(1, Semaphore::MAX_PERMITS))));
        let shared = Consumer { lanes: Lanes::Unkeyed, room, ..consumer };
        let members = self.members.get_or_init(|| Members::new(names, &self.instance));
        let tasks = &mut *self.tasks();
        tasks.members.get_or_insert_with(|| members.listen(Arc::clone(&self.link)));
        let records = Records::new(Arc::clone(&self.inbox), names.nodes_bucket());
        Ok(Steward::new(shared, Arc::clone(members), records, group))
    }
}
