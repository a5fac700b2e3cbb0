use std::fmt;

use bytes::Bytes;
use convoke::{
    BoxFuture, StoreError,
    cluster::{
        Error, ErrorKind,
        kv::{Expected, Kv, Swap},
    },
};

use super::{OrderRepository, decode, encode};
use crate::{Order, OrderId};

/// Orders in the replicated key-value store of the cluster: every node has them all, and writes what a majority has
/// stored. For nodes without NATS and Redis.
pub struct ClusterOrders {
    kv: Kv,
}

/// What each key begins with. Ids are made in the order of time, so the order of keys is that of placing.
const PREFIX: &str = "orders/";

fn key(id: OrderId) -> String {
    format!("{PREFIX}{id}")
}

fn store_error(error: Error) -> StoreError {
    match error.kind() {
        ErrorKind::Refused | ErrorKind::TooLarge { .. } | ErrorKind::Full => StoreError::refused(error),
        _ => StoreError::unavailable(error),
    }
}

impl ClusterOrders {
    /// Orders in this store.
    #[must_use]
    pub fn new(kv: Kv) -> Self {
        Self { kv }
    }

    async fn put_now(&self, order: &Order) -> Result<Order, StoreError> {
        let put = self.kv.compare_and_swap(key(order.order_id), Expected::Absent, encode(order)?);
        match put.await.map_err(store_error)? {
            Swap::Done { .. } => Ok(order.clone()),
            Swap::Conflict { .. } => {
                let stored = self.get_now(order.order_id).await?;
                stored.map(|(stored, _)| stored).ok_or_else(|| StoreError::unavailable("the order is gone"))
            }
        }
    }

    async fn get_now(&self, id: OrderId) -> Result<Option<(Order, u64)>, StoreError> {
        let stored = self.kv.get(key(id)).await.map_err(store_error)?;
        stored.map(|value| Ok((decode(&value.bytes)?, value.version))).transpose()
    }

    async fn replace_now(&self, order: &Order, version: u64) -> Result<bool, StoreError> {
        let swap = self.kv.compare_and_swap(key(order.order_id), version, encode(order)?);
        Ok(swap.await.map_err(store_error)?.is_done())
    }

    async fn list_now(&self, after: Option<OrderId>, limit: usize) -> Result<Vec<Order>, StoreError> {
        let mut orders = Vec::new();
        let mut after = after.map(|id| Bytes::from(key(id)));
        while orders.len() < limit {
            let mut scan = self.kv.scan(PREFIX).limit(limit - orders.len());
            if let Some(after) = after.take() {
                scan = scan.after(after);
            }
            let page = scan.await.map_err(store_error)?;
            for (_, value) in &page.entries {
                orders.push(decode(&value.bytes)?);
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        Ok(orders)
    }
}

impl OrderRepository for ClusterOrders {
    fn put<'a>(&'a self, order: &'a Order) -> BoxFuture<'a, Result<Order, StoreError>> {
        Box::pin(self.put_now(order))
    }

    fn get(&self, id: OrderId) -> BoxFuture<'_, Result<Option<(Order, u64)>, StoreError>> {
        Box::pin(self.get_now(id))
    }

    fn replace<'a>(&'a self, order: &'a Order, version: u64) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(self.replace_now(order, version))
    }

    fn list(&self, after: Option<OrderId>, limit: usize) -> BoxFuture<'_, Result<Vec<Order>, StoreError>> {
        Box::pin(self.list_now(after, limit))
    }
}

impl fmt::Debug for ClusterOrders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterOrders")
    }
}
