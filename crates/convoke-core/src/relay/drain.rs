//! One slot, from the first row to the last: publish, wait for the broker, settle, go on.
use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::{StreamExt, future::join_all, stream};
use tokio::{sync::oneshot, time::Instant};
use tracing::{debug, error, warn};

use super::Relay;
use crate::{
    Batch, Hold, LANE_UNKEYED, Row, Settle, TransportErrorKind, TransportHealth,
    context::{Due, Staged},
    node::NodeInner,
};

/// Slots that one sweep looks at together.
const SWEEP_AT_ONCE: usize = 16;

impl NodeInner {
    /// Looks at every slot, and publishes what lies there and nobody else publishes.
    pub(super) async fn sweep(self: &Arc<Self>, relay: &Relay) {
        let slots = stream::iter(0..relay.store.slots());
        slots.for_each_concurrent(SWEEP_AT_ONCE, |slot| self.drain(relay, slot, None, None)).await;
    }

    /// Publishes the rows of one slot while there are any.
    pub(super) async fn drain(
        &self,
        relay: &Relay,
        slot: u16,
        batch: Option<(Batch, Instant)>,
        relayed: Option<oneshot::Sender<()>>,
    ) {
        let (mut relayed, mut since) = (relayed, Instant::now());
        let mut next = match batch {
            Some((batch, committed)) => {
                since = committed;
                Some(batch)
            }
            None => match relay.store.take(&relay.outbox, slot).await {
                Ok(taken) => {
                    relay.lags.note(slot, &taken);
                    taken.batch
                }
                Err(error) => {
                    debug!(%error, slot, "the outbox cannot be looked at");
                    return;
                }
            },
        };
        while let Some(Batch { fence, rows }) = next {
            let hold = Hold { slot, fence };
            // Within this no other relay can have the slot: the store's clock started the lease no earlier.
            let deadline = since + relay.outbox.lease.mul_f64(0.6);
            let settled = self.publish_rows(&rows, deadline).await;
            let all = settled.len() == rows.len();
            if let Some(relayed) = relayed.take_if(|_| all) {
                let _ = relayed.send(()); // nobody may be waiting
            }
            since = Instant::now();
            next = self.settle_rows(relay, hold, &settled, all).await;
        }
    }

    /// What comes next, when all went well.
    async fn settle_rows(&self, relay: &Relay, hold: Hold, settled: &[Settle], all: bool) -> Option<Batch> {
        if !settled.is_empty() {
            match relay.store.settle(&relay.outbox, hold, settled).await {
                Ok(taken) => {
                    relay.lags.note(hold.slot, &taken);
                    if all {
                        return taken.batch;
                    }
                }
                Err(error) => {
                    // The lease ends by itself, and whoever finds the rows publishes them under the same ids.
                    warn!(%error, slot = hold.slot, "published rows could not be settled");
                    return None;
                }
            }
        }
        if !all && let Err(error) = relay.store.give_back(&relay.outbox, hold).await {
            debug!(%error, slot = hold.slot, "a slot was not given back; its lease will end");
        }
        None
    }

    /// Publishes rows: of equal keys one after the other, up to the first that fails, others together. Answers
    /// those that the broker has, or will never take.
    async fn publish_rows(&self, rows: &[(String, Row)], deadline: Instant) -> Vec<Settle> {
        let mut lanes: BTreeMap<(u8, usize), Lane<'_>> = BTreeMap::new();
        for (index, (place, row)) in rows.iter().enumerate() {
            let staged = row.staged();
            let lane = match &staged {
                Ok(staged) if staged.message.lane != LANE_UNKEYED => (staged.message.lane, 0),
                _ => (LANE_UNKEYED, index),
            };
            lanes.entry(lane).or_default().push((place, staged));
        }
        let lanes = lanes.into_values().map(|lane| self.publish_lane(lane, deadline));
        join_all(lanes).await.into_iter().flatten().collect()
    }

    async fn publish_lane(&self, lane: Lane<'_>, deadline: Instant) -> Vec<Settle> {
        let mut settled = Vec::with_capacity(lane.len());
        for (place, staged) in lane {
            let parked = match staged {
                Ok(staged) => match self.publish_staged(staged, deadline).await {
                    Ok(parked) => parked,
                    Err(()) => break,
                },
                Err(problem) => Some(problem),
            };
            if let Some(problem) = &parked {
                error!(problem, "a message of the outbox is put aside: the broker will never take it");
            }
            settled.push(Settle { place: place.to_owned(), parked });
        }
        settled
    }

    /// `Err`: not now.
    async fn publish_staged(&self, staged: Staged, deadline: Instant) -> Result<Option<String>, ()> {
        let Staged { message, due } = staged;
        let name = message.name;
        let stored = async {
            match due {
                Due::Published => self.transport.publish(message, deadline).await,
                Due::Enqueued(due) => self.transport.enqueue(message, due, deadline).await,
            }
        };
        let away = || TransportErrorKind::TimedOut.into();
        let stored = tokio::time::timeout_at(deadline + GRACE, stored).await.unwrap_or_else(|_| Err(away()));
        match stored {
            Ok(_) => Ok(None),
            Err(error) => match error.kind() {
                TransportErrorKind::TooLarge => Ok(Some(error.to_string())),
                TransportErrorKind::Refused if self.transport.health() == TransportHealth::Up => {
                    Ok(Some(error.to_string()))
                }
                _ => {
                    debug!(name, %error, "a message of the outbox waits");
                    Err(())
                }
            },
        }
    }
}

/// Rows that keep an order, and where they lie; an error for what cannot be read.
type Lane<'a> = Vec<(&'a str, Result<Staged, String>)>;

/// What a transport may be late.
const GRACE: Duration = Duration::from_millis(50);
