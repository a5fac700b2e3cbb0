//! A job of every night, under a lock of the cluster: a timer on each node asks for it, and one of them does it.
use std::time::Duration;

use convoke::cluster::{Cluster, Error, ErrorKind, locks::Guard};
use jiff::Timestamp;
use serde::Serialize;

use crate::{ListOrders, Repository};

/// The lock's name, and where the result lies.
const NAME: &str = "nightly";
/// How long the lock holds when its node dies.
const LOCK_TTL: Duration = Duration::from_secs(10);
/// Orders that one night counts.
const ORDERS_MAX: usize = 1_000_000;

/// What a night came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Night {
    /// How many orders there are.
    pub orders: usize,
    /// The lock's fence: a later night has a greater one.
    pub fence: u64,
    /// When it was done.
    pub at: Timestamp,
}

/// Does the job of the night, unless another node is at it: then `None`, at once.
///
/// # Errors
/// What the cluster says, also when the lock was lost on the way: then nothing is written.
pub async fn run(cluster: &Cluster, orders: &Repository) -> Result<Option<Night>, Error> {
    let Some(guard) = cluster.lock(NAME).ttl(LOCK_TTL).try_acquire().await? else { return Ok(None) };
    let night = tokio::select! {
        () = guard.lost() => None,
        counted = count(orders) => Some(Night { orders: counted, fence: guard.fence(), at: Timestamp::now() }),
    };
    match night {
        Some(night) => keep(cluster, guard, night).await.map(Some),
        None => Ok(None), // another node may be at it by now
    }
}

/// Writes it under the lock's fence: who lost the lock meanwhile is refused.
async fn keep(cluster: &Cluster, guard: Guard, night: Night) -> Result<Night, Error> {
    let bytes = serde_json::to_vec(&night).expect("numbers and a time can be written");
    let write = convoke::cluster::kv::Write::put(format!("report/{NAME}"), bytes);
    guard.fenced_write(&cluster.kv(), write).await?;
    match guard.release().await {
        Ok(()) => Ok(night),
        Err(error) if error.kind() == ErrorKind::Lost => Ok(night), // it was written before
        Err(error) => Err(error),
    }
}

async fn count(orders: &Repository) -> usize {
    let (mut count, mut after) = (0, None);
    while count < ORDERS_MAX {
        let Ok(page) = orders.list(after, ListOrders::LIMIT_MAX).await else { break };
        count += page.len();
        match page.last() {
            Some(last) if page.len() == ListOrders::LIMIT_MAX => after = Some(last.order_id),
            _ => break,
        }
    }
    count
}
