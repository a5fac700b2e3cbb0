//! Events and enqueued commands come in.

mod attach;
mod caught_up;
mod declaration;
mod delivery;
mod flight;
mod pull;
mod session;
mod settle;
mod silence;
mod span;

use std::{sync::Arc, time::Duration};

use convoke_core::{Consume, ConsumeSpec};
use tokio::sync::{Semaphore, oneshot};

use crate::{
    Config, Error,
    inbox::Inbox,
    jitter,
    link::Link,
    names::{Lanes, Names, Source},
    publishing::Publisher,
    tally::{Signal, Tally},
    vitals::{Standing, Vitals},
};
use caught_up::CaughtUp;
use declaration::CEILING;
pub(crate) use declaration::{COMPARED_BY_NODES_ALONE, declaration};
use flight::Flight;
pub(crate) use span::Ended;

/// First and longest pause before a consumer that could not be attached is tried again.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(2)];

/// A consumer of events that is attached again for as long as the node is there.
#[derive(Clone)]
pub(crate) struct Consumer {
    pub(crate) link: Arc<Link>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) vitals: Arc<Vitals>,
    pub(crate) publisher: Arc<Publisher>,
    pub(crate) tally: Arc<Tally>,
    pub(crate) names: Names,
    pub(crate) config: Config,
    pub(crate) spec: ConsumeSpec,
    pub(crate) consume: Arc<dyn Consume>,
    pub(crate) source: Source,
    /// Its name at the server, the same at every attach.
    pub(crate) name: String,
    pub(crate) lanes: Lanes,
    /// A place for each event that may be in hand, when several consumers share the bound.
    pub(crate) room: Option<Arc<Semaphore>>,
    /// Ends it before the node leaves.
    pub(crate) over: Option<Arc<Signal>>,
}

/// Where it stands, over all attaches.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    /// The stream that was read last, by its creation time.
    epoch: Option<u64>,
    /// The last event that was handed over.
    last_seen: Option<u64>,
    flight: Arc<Flight>,
    caught_up: CaughtUp,
}

impl Consumer {
    /// Runs until the node leaves. `attached` hears of the first attach, or why there will be none.
    pub(crate) async fn run(self, attached: oneshot::Sender<Result<(), Error>>) {
        let mut attached = Some(attached);
        let mut cursor = Cursor::default();
        let [mut pause, pause_max] = PAUSES;
        self.vitals.consumer_waits(&self.label(), "it is being set up");
        while self.streams_ready().await {
            match self.attach(&mut cursor).await {
                Ok((inbox, epoch)) => {
                    pause = PAUSES[0];
                    self.vitals.consumer_runs(&self.label());
                    attached.take().map(|attached| attached.send(Ok(())));
                    let why = match self.session(inbox, &mut cursor, epoch).await {
                        session::End::Left => return,
                        session::End::Lost(why) => why,
                        session::End::HandedBack => "an event was handed back".into(),
                    };
                    tracing::debug!(consumer = self.name, %why, "the consumer is attached again");
                    self.vitals.consumer_waits(&self.label(), why);
                }
                Err(error) if error.is_permanent() => {
                    match attached.take() {
                        Some(attached) => drop(attached.send(Err(Error::refused(error.to_string())))),
                        None => tracing::error!("{error}"),
                    }
                    self.vitals.set(Standing::Failed(error.to_string()));
                    return;
                }
                Err(error) => {
                    tracing::debug!(consumer = self.name, %error, "the consumer could not be attached");
                    self.vitals.consumer_waits(&self.label(), error.to_string());
                }
            }
            tokio::select! {
                () = tokio::time::sleep(jitter::shortened(pause)) => pause = (pause * 2).min(pause_max),
                () = self.tally.leaving.wait() => return,
            }
        }
    }

    /// Waits until it is to end.
    async fn told_to_end(&self) {
        match &self.over {
            Some(over) => over.wait().await,
            None => self.tally.leaving.wait().await,
        }
    }

    /// Whether its events must come in the order of the stream, with none left out.
    fn in_order(&self) -> bool {
        matches!(self.lanes, Lanes::Span(_))
    }

    /// What tells it from the node's other consumers.
    fn label(&self) -> String {
        format!("{} of {}", self.name, self.names.stream(self.source))
    }

    /// Waits until the stream is there. `false` when the node leaves or cannot go on.
    async fn streams_ready(&self) -> bool {
        let mut standing = self.vitals.watch();
        let mut link = self.link.watch();
        loop {
            match &*standing.borrow_and_update() {
                Standing::Ready if self.link.is_connected() => return true,
                Standing::Failed(_) => return false,
                _ => {}
            }
            let changed = tokio::select! {
                changed = standing.changed() => changed,
                changed = link.changed() => changed,
                () = self.tally.leaving.wait() => return false,
            };
            if changed.is_err() {
                return false;
            }
        }
    }
}
