//! The way out of the outbox: what a commit recorded is published at once, and what a dead node left behind by
//! whoever finds it.
mod complete;
mod drain;
mod lag;
mod row;
mod task;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout, timeout_at},
};
use tracing::{debug, warn};
use uuid::Uuid;

use crate::{
    Batch, Beside, Commit, Committed, Config, Failed, Fault, NodeIdentity, Outbox, OutboxStore, Record, Row,
    StoreError, StoreErrorKind, TransportHealth, Turn, context::Staging, node::NodeInner,
};
pub(crate) use complete::{Completed, Pushed};
use lag::Lags;
pub use lag::OutboxLag;
pub use row::RowInfo;
pub(crate) use task::Task;

/// How long a commit may take. The caller's deadline does not shorten it: the handler has run.
pub(crate) const COMMIT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an answer waits for the broker to take what it staged, so that what its receiver sends next comes
/// behind it. While the broker is known to be away it does not wait.
const RELAYED_WAIT: Duration = Duration::from_millis(250);

/// Commits whose rows wait for the relay's attention. What finds no place here is found by a sweep.
const NOTICES_MAX: usize = 4096;

/// Most rows that are published with one lease's step.
const BATCH_MAX: usize = 128;

/// So many runs in a row may find that another writer was faster, before that is a fault.
pub(crate) const OVERTAKEN_MAX: u32 = 16;

/// A node's relay: one task, and what the rest of the node knows of it.
pub(crate) struct Relay {
    pub(crate) store: Arc<dyn OutboxStore>,
    outbox: Outbox,
    sweep_every: Duration,
    waiting_max: u64,
    lags: Lags,
    notices: mpsc::Sender<Notice>,
    inbox: Mutex<Option<mpsc::Receiver<Notice>>>, // until the task has it
}

/// Rows that were just recorded.
struct Notice {
    slot: u16,
    /// They can be published without asking the store.
    batch: Option<(Batch, Instant)>,
    /// Told when the broker has them.
    relayed: oneshot::Sender<()>,
}

impl Relay {
    pub(crate) fn new(store: Arc<dyn OutboxStore>, identity: &NodeIdentity, config: &Config) -> Self {
        let (notices, inbox) = mpsc::channel(NOTICES_MAX);
        let waiting_max = u64::try_from(config.outbox_max).unwrap_or(u64::MAX);
        let outbox = Outbox {
            scope: format!("{}:{}", identity.namespace, identity.service),
            relay: Uuid::now_v7(),
            lease: config.lease,
            rows_max: waiting_max,
            batch_max: BATCH_MAX,
        };
        let (lags, sweep_every) = (Lags::new(store.slots()), config.outbox_sweep);
        let inbox = Mutex::new(Some(inbox));
        Self { store, outbox, sweep_every, waiting_max, lags, notices, inbox }
    }

    /// How far it is behind, as far as this node knows.
    pub(crate) fn lag(&self) -> OutboxLag {
        self.lags.total()
    }

    /// Whether an application's own writes can join a commit.
    pub(crate) fn takes_writes(&self) -> bool {
        self.store.tag(Beside::Text("")).is_some()
    }

    /// Refuses new work while more waits than may.
    pub(crate) fn admit(&self) -> Result<(), Failed> {
        let waiting = self.lags.waiting();
        if waiting < self.waiting_max {
            return Ok(());
        }
        Err(Failed::Unavailable(format!("outbox: {waiting} messages wait for the broker")))
    }

    /// What somebody should look at.
    pub(crate) fn problem(&self) -> Option<String> {
        let lag = self.lag();
        if lag.waiting >= self.waiting_max {
            return Some(format!("{} messages wait for the broker, and no more are taken", lag.waiting));
        }
        (lag.parked > 0).then(|| {
            format!("{} messages were put aside, because the broker will never take them", lag.parked)
        })
    }

    /// Records in one step. Rows have to be handed to [`pushed`](Self::pushed) behind it.
    pub(crate) async fn commit(&self, commit: Commit<'_>) -> Result<Committed, StoreError> {
        let committed = timeout(COMMIT_TIMEOUT, self.store.commit(&self.outbox, commit)).await;
        let committed =
            committed.unwrap_or_else(|_| Err(StoreError::unavailable("the commit took too long")))?;
        if let Committed::Stored(stored) = &committed
            && !commit.rows.is_empty()
        {
            self.lags.note_waiting(stored.slot, stored.waiting);
        }
        Ok(committed)
    }

    /// Gets rows that were just recorded published. Returns when they are, or when that takes too long: they are
    /// recorded, and will be.
    pub(crate) async fn pushed(&self, node: &NodeInner, pushed: Pushed) {
        let Pushed { stored, since, rows } = pushed;
        let batch = match stored.turn {
            Turn::Others => return,
            Turn::Take => None,
            Turn::Yours { fence, places } => {
                Some((Batch { fence, rows: places.into_iter().zip(rows).collect() }, since))
            }
        };
        let (relayed, finished) = oneshot::channel();
        if self.notices.try_send(Notice { slot: stored.slot, batch, relayed }).is_err() {
            debug!(slot = stored.slot, "the relay is busy: a sweep will find the rows");
            return;
        }
        if node.transport.health() == TransportHealth::Up {
            let _ = timeout(RELAYED_WAIT, finished).await; // late or not, they are recorded
        }
    }

    fn take_inbox(&self) -> Option<mpsc::Receiver<Notice>> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("outbox", &self.outbox).finish_non_exhaustive()
    }
}

/// Another writer was faster: nothing was recorded, and the handler may run again.
#[derive(Debug, thiserror::Error)]
#[error("another writer was faster")]
pub(crate) struct Overtaken;

impl Failed {
    pub(crate) fn overtaken() -> Self {
        Self::Faulted(Fault::new(Overtaken))
    }

    pub(crate) fn is_overtaken(&self) -> bool {
        matches!(self, Self::Faulted(fault) if fault.source().is::<Overtaken>())
    }

    pub(crate) fn outbox_full() -> Self {
        Self::fault("the outbox has no room: nothing that this run staged was stored")
    }
}

/// What a handler staged, as rows.
pub(crate) fn rows_of(staging: &Staging) -> Result<Vec<Row>, Failed> {
    staging.messages.iter().map(|staged| Row::of(staged).map_err(Failed::fault)).collect()
}

impl NodeInner {
    /// Records what a handler staged, when there is no record of the handler's own to go with. `false`: the store
    /// is away, and the broker may take it as well, since no outcome depends on it.
    pub(crate) async fn append_staged(&self, relay: &Relay, staging: &Staging) -> Result<bool, Failed> {
        let rows = rows_of(staging)?;
        let near = staging.near();
        let record = Record::Alone { call: Uuid::now_v7(), near: &near };
        let commit = Commit { record, rows: &rows, writes: &staging.writes };
        let since = Instant::now();
        match relay.commit(commit).await {
            Ok(Committed::Stored(stored)) => {
                relay.pushed(self, Pushed { stored, since, rows }).await;
                Ok(true)
            }
            Ok(Committed::Overtaken) => Err(Failed::overtaken()),
            Ok(Committed::Full) => Err(Failed::outbox_full()),
            Ok(Committed::Fenced) => Err(Failed::fault("the store fenced what holds no claim")),
            Err(error) if error.kind() == StoreErrorKind::Unavailable && staging.writes.is_empty() => {
                // If it is recorded after all, the relay publishes it under the same ids.
                warn!(%error, "the outbox is away: what a handler staged is published without it");
                Ok(false)
            }
            Err(error) => {
                warn!(%error, "what a handler staged could not be stored");
                Err(Failed::fault(format!("what the handler staged could not be stored: {error}")))
            }
        }
    }

    /// Publishes what waits and nobody else publishes, while the broker takes it. Answers how many messages stay:
    /// those that other nodes are publishing are among them.
    pub(crate) async fn drain_outbox(self: &Arc<Self>, deadline: Instant) -> u64 {
        let Some(relay) = &self.relay else { return 0 };
        let deadline = deadline.max(Instant::now() + LAST_SWEEP_MIN);
        let _ = timeout_at(deadline, self.sweep(relay)).await; // late or not, what is recorded stays so
        relay.lag().waiting
    }
}

/// What a stopping node has for its last sweep at least, however late it is.
const LAST_SWEEP_MIN: Duration = Duration::from_millis(250);
