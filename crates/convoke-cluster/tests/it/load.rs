//! Clients that begin writes at a steady rate, whatever became of those before.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use convoke_cluster::{Cluster, Error, NodeId};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{Instant, MissedTickBehavior, interval},
};

use crate::support::{Journal, write_within};

/// How much is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offer {
    /// Writes per second of all clients together.
    pub(crate) rate: u32,
    /// How long a client waits for one of them.
    pub(crate) within: Duration,
    /// What a line is filled up to.
    pub(crate) bytes: usize,
}

/// The clients. Each writes at a node of its own, and beside it when that one is closed to it or fails.
pub(crate) struct Load {
    began: Instant,
    stop: Arc<AtomicBool>,
    closed: Closed,
    clients: Vec<JoinHandle<Vec<Write>>>,
}

/// The nodes that clients no longer use.
type Closed = Arc<Mutex<Vec<NodeId>>>;

/// A node, by its number.
pub(crate) type Entrance = (NodeId, Cluster<Journal>);

/// One write that was acknowledged, at the latest when it was repeated.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) line: Bytes,
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
    /// Why it was repeated, and when.
    pub(crate) failed: Option<(Instant, Error)>,
}

impl Load {
    /// A client at each of these, which goes to the next one when it has to.
    pub(crate) fn start(entrances: &[Entrance], offer: Offer) -> Self {
        let (stop, closed) = (Arc::new(AtomicBool::new(false)), Closed::default());
        let count = u32::try_from(entrances.len()).expect("a few");
        let clients = (0..entrances.len()).map(|first| {
            let mut client = Client {
                number: first,
                entrances: entrances.to_vec(),
                offer,
                closed: Arc::clone(&closed),
                stop: Arc::clone(&stop),
            };
            client.entrances.rotate_left(first);
            tokio::spawn(client.run(Duration::from_secs(1) * count / offer.rate))
        });
        let clients = clients.collect();
        Self { began: Instant::now(), stop, closed, clients }
    }

    /// Has clients begin no more writes at this node.
    pub(crate) fn close(&self, id: NodeId) {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner).push(id);
    }

    /// How long it has gone on.
    pub(crate) fn lasted(&self) -> Duration {
        self.began.elapsed()
    }

    /// Ends it, and tells how long it was and what was written.
    pub(crate) async fn end(self) -> (Duration, Vec<Write>) {
        self.stop.store(true, Ordering::SeqCst);
        let lasted = self.lasted();
        let mut written = Vec::new();
        for client in self.clients {
            written.extend(client.await.expect("every write was acknowledged"));
        }
        (lasted, written)
    }
}

struct Client {
    number: usize,
    entrances: Vec<Entrance>,
    offer: Offer,
    closed: Closed,
    stop: Arc<AtomicBool>,
}

impl Client {
    async fn run(self, every: Duration) -> Vec<Write> {
        let mut ticks = interval(every);
        // What a busy machine missed is made up for: that is what a rate means.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut under_way = JoinSet::new();
        for number in 0_u64.. {
            ticks.tick().await;
            if self.stop.load(Ordering::SeqCst) {
                break;
            }
            let (first, other) = self.ways();
            let name = format!("client {} line {number} ", self.number);
            let line = Bytes::from(format!("{name:.<width$}", width = self.offer.bytes));
            under_way.spawn(once_or_twice(first, other, line, self.offer.within));
        }
        under_way.join_all().await
    }

    /// Where it writes, and where it goes when that fails.
    fn ways(&self) -> (Cluster<Journal>, Cluster<Journal>) {
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut open = self.entrances.iter().filter(|(id, _)| !closed.contains(id)).map(|(_, node)| node);
        let mut next = || open.next().expect("two are open").clone();
        (next(), next())
    }
}

async fn once_or_twice(
    first: Cluster<Journal>,
    other: Cluster<Journal>,
    line: Bytes,
    within: Duration,
) -> Write {
    let began = Instant::now();
    let failed = write_within(&first, line.clone(), within).await.err().map(|error| (Instant::now(), error));
    if let Some((_, error)) = &failed {
        let repeated = write_within(&other, line.clone(), within).await;
        repeated.unwrap_or_else(|again| panic!("{line:?} failed twice: {error}, and then {again}"));
    }
    Write { line, began, ended: Instant::now(), failed }
}

/// What so many in a hundred writes did not exceed.
pub(crate) fn percentile(written: &[Write], percent: usize) -> Duration {
    let mut took: Vec<_> = written.iter().map(|write| write.ended - write.began).collect();
    took.sort();
    let rank = (took.len() * percent).div_ceil(100);
    took.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}
