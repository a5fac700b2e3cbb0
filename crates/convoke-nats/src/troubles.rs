//! What went wrong and was borne: counted, and told for a while.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// For how long a node's health speaks of what happened.
const TOLD_FOR: Duration = Duration::from_secs(60);
const KINDS: usize = 6;

/// How often something went wrong since the transport was made, for a metrics exporter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Messages that the client dropped because they were not read fast enough. A hint: in a storm not each one is told.
    pub messages_dropped: u64,
    /// Messages that a stream, an account or a server had no room for.
    pub no_room: u64,
    /// Requests for events that the server refused by one of its limits.
    pub pulls_refused: u64,
    /// Times that this process stood still, or its runtime was blocked.
    pub stalls: u64,
    /// Requests that were refused because they lay in a buffer meanwhile, longer than their callers waited.
    pub stale_requests: u64,
    /// Times that this node left a queue group because its handlers were stuck.
    pub stuck: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trouble {
    Dropped,
    NoRoom,
    PullRefused,
    Stall,
    StaleRequest,
    Stuck,
}

#[derive(Debug, Default)]
pub(crate) struct Troubles {
    counts: [AtomicU64; KINDS],
    told: Mutex<BTreeMap<Trouble, (Instant, String)>>,
}

impl Troubles {
    pub(crate) fn count(&self, trouble: Trouble) {
        self.counts[trouble as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts it, and has the node's health tell it: what happened and what to do, as a sentence.
    pub(crate) fn tell(&self, trouble: Trouble, sentence: impl Into<String>) {
        self.count(trouble);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.insert(trouble, (Instant::now(), sentence.into()));
    }

    /// What happened lately.
    pub(crate) fn lately(&self) -> Vec<String> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|_, (at, _)| at.elapsed() < TOLD_FOR);
        told.values().map(|(_, sentence)| sentence.clone()).collect()
    }

    pub(crate) fn counters(&self) -> Counters {
        let count = |trouble: Trouble| self.counts[trouble as usize].load(Ordering::Relaxed);
        Counters {
            messages_dropped: count(Trouble::Dropped),
            no_room: count(Trouble::NoRoom),
            pulls_refused: count(Trouble::PullRefused),
            stalls: count(Trouble::Stall),
            stale_requests: count(Trouble::StaleRequest),
            stuck: count(Trouble::Stuck),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_happened_is_told_for_a_minute_and_counted_for_ever() {
        let troubles = Troubles::default();
        troubles.tell(Trouble::NoRoom, "the stream is full");
        troubles.tell(Trouble::NoRoom, "the stream is still full");
        assert_eq!(troubles.lately(), ["the stream is still full"]);
        tokio::time::advance(TOLD_FOR).await;
        assert_eq!(troubles.lately(), Vec::<String>::new());
        assert_eq!(troubles.counters(), Counters { no_room: 2, ..Counters::default() });
    }
}
