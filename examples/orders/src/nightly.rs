//! A job of every night, under a lock of the cluster: a timer on each node asks for it, and one of them does it.
use std::time::Duration;

use convoke::{
    Executed, StoreError,
    cluster::{Cluster, Error, ErrorKind, locks::Guard},
};
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

/// Why a night came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum NightError {
    /// The lock could not be had, or the result not be written.
    #[error(transparent)]
    Cluster(#[from] Error),
    /// The orders could not be counted, so nothing was written.
    #[error("the orders could not be counted: {0}")]
    Orders(#[from] StoreError),
}

impl NightError {
    /// Whether there is a result of this night.
    #[must_use]
    pub fn executed(&self) -> Executed {
        match self {
            Self::Cluster(error) => error.executed(),
            Self::Orders(_) => Executed::No,
        }
    }
}

/// Does the job of the night, unless another node is at it: then `None`, at once.
///
/// # Errors
/// What the cluster says, also when the lock was lost on the way, or the store of the orders: then nothing is written.
pub async fn run(cluster: &Cluster, orders: &Repository) -> Result<Option<Night>, NightError> {
    let Some(guard) = cluster.lock(NAME).ttl(LOCK_TTL).try_acquire().await? else { return Ok(None) };
    let night = tokio::select! {
        () = guard.lost() => None,
        counted = count(orders) => Some(Night { orders: counted?, fence: guard.fence(), at: Timestamp::now() }),
    };
    match night {
        Some(night) => Ok(Some(keep(cluster, guard, night).await?)),
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

async fn count(orders: &Repository) -> Result<usize, StoreError> {
    let (mut count, mut after) = (0, None);
    while count < ORDERS_MAX {
        let page = orders.list(after, ListOrders::LIMIT_MAX).await?;
        count += page.len();
        match page.last() {
            Some(last) if page.len() == ListOrders::LIMIT_MAX => after = Some(last.order_id),
            _ => break,
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use convoke::BoxFuture;

    use super::*;
    use crate::{Money, Order, OrderId, Status, repository::OrderRepository};

    /// Has one page, and is away when the next one is asked for.
    #[derive(Debug)]
    struct AwayLater(Vec<Order>);

    impl OrderRepository for AwayLater {
        fn put<'a>(&'a self, order: &'a Order) -> BoxFuture<'a, Result<Order, StoreError>> {
            Box::pin(async { Ok(order.clone()) })
        }

        fn get(&self, _: OrderId) -> BoxFuture<'_, Result<Option<(Order, u64)>, StoreError>> {
            Box::pin(async { Ok(None) })
        }

        fn replace<'a>(&'a self, _: &'a Order, _: u64) -> BoxFuture<'a, Result<bool, StoreError>> {
            Box::pin(async { Ok(false) })
        }

        fn list(
            &self,
            after: Option<OrderId>,
            limit: usize,
        ) -> BoxFuture<'_, Result<Vec<Order>, StoreError>> {
            let page = after.is_none().then(|| self.0.iter().take(limit).cloned().collect());
            Box::pin(async { page.ok_or_else(|| StoreError::unavailable("it went away")) })
        }
    }

    fn order() -> Order {
        Order {
            order_id: OrderId::from(uuid::Uuid::now_v7()),
            customer_id: "C-1".to_owned(),
            items: Vec::new(),
            total_amount: Money::default(),
            status: Status::Created,
            created_at: Timestamp::now(),
            handled_by: "n1".to_owned(),
            tracking_number: None,
        }
    }

    #[tokio::test]
    async fn a_store_that_goes_away_gives_no_number_of_orders() {
        let some: Repository = Arc::new(AwayLater(vec![order(); 3]));
        assert_eq!(count(&some).await.expect("one page is all"), 3);
        let many: Repository = Arc::new(AwayLater(vec![order(); ListOrders::LIMIT_MAX]));
        count(&many).await.expect_err("it went away between two pages");
    }
}
