//! `on_dead = "park"`: what comes behind a dead letter of its key waits for the letter's replay.
use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tracing::{info, warn};
use uuid::Uuid;

use super::{AWAY_PAUSE, Arrived, Consumer, Done, Work};
use crate::{
    BoxFuture, DeadLetter, MessageBody, PARKED_MAX, Parked, Parking, Place, Replay, TransportError,
    endpoint::Server,
};

/// How long one attempt to look or to park may take before it is made again.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it is remembered that a parked message was handled.
const KEEP: Duration = Duration::from_hours(30 * 24);

/// One key of one handler, and what is known about its place.
struct Key<'a> {
    parking: &'a dyn Parking,
    place: Place,
    server: &'a Server,
}

/// What a look at the place says about a message.
enum Turn {
    /// It is its turn; whether the message is the one whose letter held the key.
    Now { head: bool },
    /// Another one holds the key.
    Behind(Uuid),
    /// It is the one that holds the key, and lies with the dead letters.
    Buried,
}

impl Consumer {
    /// A message of a key that may be held. The ticket of its key is ours: nothing overtakes within this node.
    pub(super) async fn handle_or_park(&self, key: &str, work: &Work) -> Done {
        let (node, arrived) = (&self.node.identity.node, &work.arrived);
        let Some(parking) = self.node.transport.parking() else {
            return self.run_for(work).await; // the start refuses that
        };
        let place = Place::new(work.endpoint().info.name, &self.audience, node, work.title(), key);
        let key = Key { parking: &*parking, place, server: &work.server };
        let id = arrived.incoming.envelope.id();
        let skipped = arrived.replay.as_ref().is_some_and(|replay| replay.skip);
        let head = match self.turn(&key, id, arrived.replay.is_some()).await {
            None => return Done::Stopping,
            Some(Turn::Buried) => return Done::Buried,
            Some(Turn::Now { head }) => head,
            Some(Turn::Behind(_)) if skipped => return Done::Handled,
            Some(Turn::Behind(head)) => return self.park(&key, arrived, head).await,
        };
        let done =
            if skipped { Done::Handled } else { self.run_held(&key, work.body.clone(), arrived).await };
        match done {
            Done::Handled if head => self.let_go(&key).await,
            done => done,
        }
    }

    /// Waits until a place says what to do, and handles what was left over there. `None`: the node stops.
    async fn turn(&self, key: &Key<'_>, id: Uuid, replayed: bool) -> Option<Turn> {
        loop {
            match self.look(key).await? {
                Parked { head: Some(head), .. } if head != id => return Some(Turn::Behind(head)),
                Parked { head: Some(_), .. } if replayed => return Some(Turn::Now { head: true }),
                Parked { head: Some(_), .. } => return Some(Turn::Buried),
                Parked { first: None, .. } => return Some(Turn::Now { head: false }),
                Parked { first: Some((number, letter)), .. } => self.unpark(key, number, letter).await?,
            }
        }
    }

    /// The key's head is handled or dropped: what waits behind it is handled in order, until another one gives up.
    async fn let_go(&self, key: &Key<'_>) -> Done {
        if !self.until_done(|by| key.parking.hold(&key.place, None, by)).await {
            return Done::Stopping;
        }
        loop {
            match self.look(key).await {
                None => return Done::Stopping,
                Some(Parked { head: None, first: Some((number, letter)) }) => {
                    if self.unpark(key, number, letter).await.is_none() {
                        return Done::Stopping;
                    }
                }
                Some(_) => return Done::Handled,
            }
        }
    }

    /// Handles the first one that waits, and takes it away. `None`: the node stops.
    async fn unpark(&self, key: &Key<'_>, number: u64, letter: DeadLetter) -> Option<()> {
        let handler = key.server.endpoint.info.title.clone();
        let replay = Replay { handler, number: letter.replays, keep: KEEP, holds: false, skip: false };
        let arrived =
            Arrived { incoming: Arc::new(letter.message), replay: Some(Arc::new(replay)), holds: false };
        let read = key.server.endpoint.read(&arrived.incoming.payload, &self.node.config.limits);
        let done = match read {
            Ok(body) => self.run_held(key, body, &arrived).await,
            Err(error) => {
                self.bury(&arrived, &key.server.endpoint.info.title, vec![error.to_string()], 0).await
            }
        };
        if matches!(done, Done::Stopping) {
            return None;
        }
        self.until_done(|by| key.parking.unpark(&key.place, number, by)).await.then_some(())
    }

    /// Runs it. When it gives up, its letter holds the key; the letter is there before anything waits for it.
    async fn run_held(&self, key: &Key<'_>, body: Arc<dyn MessageBody>, arrived: &Arrived) -> Done {
        let held = Arrived { holds: true, ..arrived.clone() };
        let work = Work { server: key.server.clone(), body, arrived: held, shared: false };
        let done = self.run_for(&work).await;
        if matches!(done, Done::Buried) {
            let id = arrived.incoming.envelope.id();
            info!(handler = key.server.endpoint.info.title, %id, "later messages of its key are parked behind it");
            if !self.until_done(|by| key.parking.hold(&key.place, Some(id), by)).await {
                return Done::Stopping;
            }
        }
        done
    }

    async fn park(&self, key: &Key<'_>, arrived: &Arrived, head: Uuid) -> Done {
        let handler = &key.server.endpoint.info.title;
        let letter = self.letter(arrived, handler, vec![format!("parked behind {head}")], 0);
        loop {
            match key.parking.park(&key.place, letter.clone(), Instant::now() + CALL_TIMEOUT).await {
                Ok(true) => return Done::Buried,
                Ok(false) => break,
                Err(error) => warn!(%error, handler, "a message could not be parked"),
            }
            if self.node.is_stopping() {
                return Done::Stopping;
            }
            self.node.pause(AWAY_PAUSE).await;
        }
        let error =
            format!("there is no room behind {head}: at most {PARKED_MAX} messages of a key are parked");
        self.bury(arrived, handler, vec![error], 0).await
    }

    /// `None`: the node stops.
    async fn look(&self, key: &Key<'_>) -> Option<Parked> {
        loop {
            match key.parking.look(&key.place, Instant::now() + CALL_TIMEOUT).await {
                Ok(parked) => return Some(parked),
                Err(error) => warn!(%error, "what is parked cannot be seen, the message waits"),
            }
            if self.node.is_stopping() {
                return None;
            }
            self.node.pause(AWAY_PAUSE).await;
        }
    }

    /// However long the broker is away; `false` when the node stops before that.
    async fn until_done<'a>(
        &self,
        call: impl Fn(Instant) -> BoxFuture<'a, Result<(), TransportError>>,
    ) -> bool {
        loop {
            match call(Instant::now() + CALL_TIMEOUT).await {
                Ok(()) => return true,
                Err(error) => warn!(%error, "what is parked cannot be changed, trying again"),
            }
            if self.node.is_stopping() {
                return false;
            }
            self.node.pause(AWAY_PAUSE).await;
        }
    }
}
