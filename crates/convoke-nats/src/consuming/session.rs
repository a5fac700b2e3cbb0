//! One attach of a consumer: from its first request for events until the link or the consumer is lost.

use std::{borrow::Cow, collections::VecDeque, pin::pin, sync::Arc, sync::atomic::Ordering, time::Duration};

use async_nats::{Message, StatusCode, Subject, Subscriber};
use convoke_core::{Audience, BoxFuture, DeadLetter, Envelope, Incoming, Payload, Position, Settled};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, interval_at, timeout},
};
use uuid::Uuid;

use super::{
    Consumer, Cursor,
    delivery::Delivery,
    flight::Ack,
    pull,
    settle::{ACK, NAK, NAK_PAUSE, PROGRESS, Settle, nak_after, pause},
    silence::Silence,
};
use crate::{
    inline::{First, Inline, caught},
    leaving::leave,
    letter,
    names::{Lanes, Source},
    post::{post, post_asking},
    troubles::Trouble,
    wire,
};

/// Longest wait for room in the client's queue.
const ROOM_WAIT: Duration = Duration::from_secs(2);
/// How long the server may take to stop sending when a node leaves.
const LEAVE_MAX: Duration = Duration::from_secs(5);
/// How long a dead letter may take.
const BURY_MAX: Duration = Duration::from_secs(10);
/// How long a handled replay is remembered when letters are kept for ever.
const KEEP_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Why a session ended.
pub(super) enum End {
    /// The node leaves.
    Left,
    /// It has to attach again.
    Lost(Cow<'static, str>),
    /// An event was not handled, and those behind it have to wait for it.
    HandedBack,
}

/// What a session remembers between events.
struct Session {
    inbox: Subject,
    next: Subject,
    pull: pull::Pull,
    inline: Inline,
    silence: Silence,
    tick: Duration,
    epoch: u64,
    /// Events that came and have no place among those in hand yet: one consumer has no more than may be in hand.
    backlog: VecDeque<(Incoming, u64)>,
}

impl Consumer {
    pub(super) async fn session(&self, inbox: String, cursor: &mut Cursor, epoch: u64) -> End {
        let client = self.link.client();
        let Ok(Ok(subscriber)) = timeout(ROOM_WAIT, client.subscribe(inbox.clone())).await else {
            return End::Lost("the connection takes no more".into());
        };
        let mut session = self.begin(inbox, epoch);
        let end = self.read(subscriber, &mut session, cursor).await;
        for (_, sequence) in session.backlog {
            // nobody has it in hand: it comes again, to the next reader of the span or to any member
            if let Some(ack) = cursor.flight.end(sequence)
                && !self.in_order()
                && matches!(end, End::Left)
            {
                self.tally.handed_back.fetch_add(1, Ordering::Relaxed);
                drop(post(self.link.client(), &ack.subject, None, NAK));
            }
        }
        end
    }

    async fn read(&self, mut subscriber: Subscriber, session: &mut Session, cursor: &mut Cursor) -> End {
        let mut link = self.link.watch();
        let breaks = link.borrow_and_update().breaks;
        if !self.link.is_connected() {
            return End::Lost("the connection broke".into());
        }
        let mut ticks = interval_at(Instant::now() + session.tick, session.tick);
        let mut progressed = Instant::now();
        let mut leaving = pin!(self.told_to_end());
        loop {
            self.ask_for_more(session, cursor);
            if matches!(self.source, Source::Events | Source::Jobs)
                && !self.in_order()
                && cursor.caught_up.tell(cursor.flight.oldest())
            {
                self.consume.caught_up();
            }
            tokio::select! {
                biased;
                message = session.inline.next(&mut subscriber) => match message {
                    Some(message) => if let Some(end) = self.heard(message, session, cursor) {
                        return end;
                    },
                    None => return End::Lost("the connection was closed".into()),
                },
                () = &mut leaving => return self.leave(subscriber, session).await,
                () = cursor.flight.settled.notified() => if cursor.flight.is_broken() {
                    return End::HandedBack;
                },
                place = self.place(), if !session.backlog.is_empty() => self.hand_over_next(place, session, cursor),
                changed = link.changed() => {
                    if changed.is_err() || link.borrow_and_update().breaks != breaks {
                        return End::Lost("the connection broke".into());
                    }
                }
                _ = ticks.tick() => {
                    if progressed.elapsed() >= self.config.ack_wait / 3 {
                        progressed = Instant::now();
                        self.tell_progress(cursor);
                    }
                    if session.silence.lasts(Instant::now()) && session.pull.outstanding() > 0 {
                        return End::Lost("the server is silent".into());
                    }
                }
            }
        }
    }

    /// Waits for a place among the events in hand. `None`: they are not counted.
    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(self.room.as_ref()?).acquire_owned().await.ok()
    }

    fn begin(&self, inbox: String, epoch: u64) -> Session {
        let tick = (self.config.ack_wait / 3).min(pull::HEARTBEAT);
        Session {
            inbox: inbox.into(),
            next: format!("$JS.API.CONSUMER.MSG.NEXT.{}.{}", self.names.stream(self.source), self.name)
                .into(),
            pull: pull::Pull::default(),
            inline: Inline::default(),
            silence: Silence::new(tick, Instant::now()),
            tick,
            epoch,
            backlog: VecDeque::new(),
        }
    }

    fn acks(&self) -> bool {
        self.spec.audience != Audience::View
    }

    fn ask_for_more(&self, session: &mut Session, cursor: &Cursor) {
        let Some(events) = session.pull.wanted(cursor.flight.len(), self.spec.in_flight_max.max(1)) else {
            return;
        };
        let bytes_max = match self.source {
            Source::Events => self.config.events.event_bytes_max,
            Source::Jobs | Source::Due => self.config.jobs.job_bytes_max,
            Source::Replays | Source::GivenUp => {
                self.config.events.event_bytes_max.max(self.config.jobs.job_bytes_max)
            }
        };
        let request = pull::request(events, bytes_max);
        session.silence.heard(Instant::now());
        // one that is lost is made again when the server's heartbeats stay away
        drop(post_asking(self.link.client(), &session.next, &session.inbox, request));
    }

    fn tell_progress(&self, cursor: &Cursor) {
        if self.acks() {
            for ack in cursor.flight.acks() {
                drop(post(self.link.client(), &ack, None, PROGRESS)); // the next one comes before the time is up
            }
        }
    }

    /// A message from the consumer. `Some` when the session cannot go on.
    fn heard(&self, message: Message, session: &mut Session, cursor: &mut Cursor) -> Option<End> {
        let received = Instant::now();
        session.silence.heard(received);
        let Some(status) = message.status else {
            session.pull.arrived();
            self.event(message, received, session, cursor);
            return None;
        };
        match status {
            StatusCode::IDLE_HEARTBEAT => {
                if session.pull.outstanding() > 0 {
                    cursor.caught_up.nothing_waits();
                }
            }
            StatusCode::NOT_FOUND | StatusCode::TIMEOUT => session.pull.ended(unsent(&message)),
            StatusCode::REQUEST_TERMINATED if is_complete(&message) => session.pull.ended(unsent(&message)),
            StatusCode::REQUEST_TERMINATED => {
                let why = message.description.as_deref().unwrap_or("it does not say why");
                if why.starts_with("Exceeded") {
                    let sentence = format!(
                        "the consumer {} gets no events ({why}): raise the server's limit",
                        self.name
                    );
                    self.link.troubles().tell(Trouble::PullRefused, sentence);
                }
                return Some(End::Lost(format!("the server ended it: {why}").into()));
            }
            StatusCode::NO_RESPONDERS => return Some(End::Lost("the server does not have it".into())),
            other => {
                tracing::debug!(consumer = self.name, status = other.as_u16(), "a status of no meaning here")
            }
        }
        None
    }

    fn event(&self, mut message: Message, received: Instant, session: &mut Session, cursor: &mut Cursor) {
        // it says nothing about the sender
        let ack = message.reply.take().unwrap_or_else(|| Subject::from_static(""));
        let Some(Delivery { sequence, deliveries, waiting }) = Delivery::read(&ack) else {
            tracing::warn!(consumer = self.name, "a message that no stream delivered was dropped");
            return;
        };
        if self.lanes == Lanes::Unkeyed && !self.names.is_unkeyed(&message.subject) {
            // handed out before the lanes were divided: the reader of its lane has it too
            drop(post(self.link.client(), &ack, None, ACK));
            return;
        }
        if !self.wants(&message.subject) {
            return self.pass_on(&ack, deliveries);
        }
        if !cursor.flight.begin(sequence, Ack { subject: ack, deliveries }) {
            return;
        }
        cursor.last_seen = Some(cursor.last_seen.unwrap_or(0).max(sequence));
        cursor.caught_up.handed_over(sequence, waiting);
        let position = Position { epoch: session.epoch, sequence };
        let replay = (self.source == Source::Replays).then(|| {
            let keep = Some(self.config.dead.max_age).filter(|age| !age.is_zero()).unwrap_or(KEEP_MAX);
            letter::read_replay(message.headers.as_ref(), keep)
        });
        match (self.incoming(message, position, received), replay) {
            (Ok(incoming), None) if self.room.is_none() => {
                let handle = || self.consume.consume(incoming);
                self.hand_over(received, sequence, None, &mut session.inline, cursor, handle)
            }
            (Ok(incoming), None) => {
                session.backlog.push_back((incoming, sequence));
                self.hand_over_what_has_room(session, cursor);
            }
            (Ok(incoming), Some((replay, position))) => {
                let incoming = Incoming { position, ..incoming };
                let handle = || self.consume.replay(incoming, replay);
                self.hand_over(received, sequence, None, &mut session.inline, cursor, handle)
            }
            // the other consumers bury it; a view reads it again at every start
            (Err(_), _) if self.spec.audience == Audience::View => {
                self.settle(sequence, None, cursor).done(Settled::Done)
            }
            (Err(mut letter), replay) => {
                (letter.replays, letter.holds) =
                    replay.map_or((0, false), |(replay, _)| (replay.number, replay.holds));
                self.bury(letter, sequence, cursor)
            }
        }
    }

    /// Nodes of two versions share a consumer while one replaces the other, and each knows its own names.
    fn wants(&self, subject: &str) -> bool {
        // a replay that nobody wants any more is told so, and becomes a dead letter again
        let shared = matches!(self.spec.audience, Audience::Group(_) | Audience::Jobs);
        let shared = shared && self.source != Source::Replays;
        !shared || self.names.stored_name(subject).is_none_or(|name| self.spec.names.contains(&name))
    }

    fn pass_on(&self, ack: &Subject, deliveries: i64) {
        self.tally.handed_back.fetch_add(1, Ordering::Relaxed);
        drop(post(self.link.client(), ack, None, nak_after(NAK_PAUSE.max(pause(deliveries))))); // else it is delivered again after the ack wait
    }

    fn incoming(
        &self,
        message: Message,
        position: Position,
        received: Instant,
    ) -> Result<Incoming, Box<DeadLetter>> {
        let name: Arc<str> = self.names.stored_name(&message.subject).unwrap_or(&message.subject).into();
        let read = wire::read(&message);
        let id = Uuid::from_u64_pair(position.epoch, position.sequence);
        let incoming = |envelope, codec| Incoming {
            name,
            payload: Payload::Bytes { codec, bytes: message.payload },
            envelope,
            received,
            position: Some(position),
        };
        match read {
            Ok(mut read) => {
                if read.stranger {
                    // the same id at every delivery, so that what was handled is recognised
                    read.envelope.set_id(id);
                }
                Ok(incoming(read.envelope, read.codec))
            }
            Err(error) => Err(Box::new(DeadLetter {
                message: incoming(Envelope::with_id(id), convoke_core::Codec::default()),
                handler: String::new(),
                node: self.names.node.clone(),
                audience: self.spec.audience.clone(),
                errors: vec![error],
                attempts: 1,
                replays: 0,
                holds: false,
            })),
        }
    }

    fn hand_over_what_has_room(&self, session: &mut Session, cursor: &Cursor) {
        while !session.backlog.is_empty()
            && !cursor.flight.is_broken()
            && let Some(room) = &self.room
            && let Ok(place) = Arc::clone(room).try_acquire_owned()
        {
            self.hand_over_next(Some(place), session, cursor);
        }
    }

    /// In the order in which they came.
    fn hand_over_next(&self, place: Option<OwnedSemaphorePermit>, session: &mut Session, cursor: &Cursor) {
        if cursor.flight.is_broken() {
            return; // nothing more before what was not handled
        }
        if let Some((incoming, sequence)) = session.backlog.pop_front() {
            let (received, handle) = (incoming.received, || self.consume.consume(incoming));
            session.inline.waited(); // it waited for a place, and not for the poll of another one
            self.hand_over(received, sequence, place, &mut session.inline, cursor, handle);
            session.inline.waited();
        }
    }

    fn settle(&self, sequence: u64, place: Option<OwnedSemaphorePermit>, cursor: &Cursor) -> Settle {
        Settle {
            link: Arc::clone(&self.link),
            tally: Arc::clone(&self.tally),
            flight: Arc::clone(&cursor.flight),
            acks: self.acks(),
            sequence,
            in_order: self.in_order(),
            _place: place,
        }
    }

    fn hand_over(
        &self,
        received: Instant,
        sequence: u64,
        place: Option<OwnedSemaphorePermit>,
        inline: &mut Inline,
        cursor: &Cursor,
        handle: impl FnOnce() -> BoxFuture<'static, Settled>,
    ) {
        let settle = self.settle(sequence, place, cursor);
        match inline.first(received, handle) {
            First::Ready(settled) => settle.done(settled),
            First::Panicked(text) => settle.failed(&text),
            First::Pending(future) => {
                let (running, tally) = (self.tally.begin(), Arc::clone(&self.tally));
                tokio::spawn(async move {
                    let _running = running;
                    tokio::select! {
                        outcome = caught(future) => match outcome {
                            Ok(settled) => settle.done(settled),
                            Err(text) => settle.failed(&text),
                        },
                        () = tally.cut.wait() => settle.cut(),
                    }
                });
            }
        }
    }

    /// Nobody can read it: it goes to the dead letters, and when that fails it is delivered again.
    fn bury(&self, letter: Box<DeadLetter>, sequence: u64, cursor: &Cursor) {
        let settle = self.settle(sequence, None, cursor);
        let (running, publisher) = (self.tally.begin(), Arc::clone(&self.publisher));
        let subject = self.names.dead(&letter.message.name);
        tracing::error!(
            sequence,
            error = letter.errors[0],
            "an event cannot be read and becomes a dead letter"
        );
        tokio::spawn(async move {
            let _running = running;
            match publisher.bury(&subject, &letter, Instant::now() + BURY_MAX).await {
                Ok(()) => settle.done(Settled::Done),
                Err(error) => {
                    settle.failed(&format!("its dead letter could not be stored: {error}"));
                }
            }
        });
    }

    /// Stops asking, and gives back what was sent to us meanwhile once the server sends no more.
    async fn leave(&self, subscriber: Subscriber, session: &Session) -> End {
        let mut given_back = Vec::new();
        if session.pull.outstanding() > 0 {
            let deadline = Instant::now() + LEAVE_MAX;
            let take = |message| {
                if let Message { status: None, reply: Some(ack), .. } = message {
                    given_back.push(ack);
                }
            };
            // before the hand-backs, or the server would send them to us again
            leave(subscriber, &self.link, &self.inbox, deadline, take).await;
        }
        if self.acks() && !self.in_order() {
            for ack in &given_back {
                self.tally.handed_back.fetch_add(1, Ordering::Relaxed);
                drop(post(self.link.client(), ack, None, NAK)); // else it is delivered again after the ack wait
            }
        }
        End::Left
    }
}

/// A request that ended because it brought as many bytes or events as it may.
fn is_complete(message: &Message) -> bool {
    message.description.as_deref().is_some_and(|text| text.contains("MaxBytes") || text == "Batch Completed")
}

fn unsent(message: &Message) -> Option<usize> {
    message.headers.as_ref()?.get("Nats-Pending-Messages")?.as_str().parse().ok()
}
