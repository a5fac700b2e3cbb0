//! Where orders live: one small trait, and what keeps its promises.
mod cluster;
mod in_process;
mod jetstream;
mod redis;

use std::{fmt, sync::Arc};

use convoke::{BoxFuture, Context, StoreError};

use crate::{Order, OrderId};

pub use cluster::ClusterOrders;
pub use in_process::InProcessOrders;
pub use jetstream::JetStreamOrders;
pub use redis::RedisOrders;

/// The orders, whoever keeps them.
pub type Repository = Arc<dyn OrderRepository>;

/// Keeps orders. Every call has a deadline of its own.
pub trait OrderRepository: fmt::Debug + Send + Sync + 'static {
    /// Stores an order unless there is one under its id, and answers what is stored there now: a repeated run
    /// finds the order of the first.
    fn put<'a>(&'a self, order: &'a Order) -> BoxFuture<'a, Result<Order, StoreError>>;

    /// An order and its version.
    fn get(&self, id: OrderId) -> BoxFuture<'_, Result<Option<(Order, u64)>, StoreError>>;

    /// Replaces an order that has this version still; `false` when it has not. Of two at once, one succeeds.
    fn replace<'a>(&'a self, order: &'a Order, version: u64) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// The id of the order that this command places: equal for each run under one key.
    fn id(&self, cx: &Context) -> OrderId {
        OrderId::from(cx.id())
    }

    /// As [`put`](Self::put), within a handler: stored now, or in one step with the handler's outcome and events.
    fn place<'a>(&'a self, order: &'a Order, cx: &'a Context) -> BoxFuture<'a, Result<Order, StoreError>> {
        let _ = cx;
        self.put(order)
    }

    /// As [`replace`](Self::replace), within a handler: done now, or in one step with the handler's events. When
    /// another one is faster then, the handler runs again.
    fn change<'a>(
        &'a self,
        order: &'a Order,
        version: u64,
        cx: &'a Context,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        let _ = cx;
        self.replace(order, version)
    }

    /// Up to `limit` orders behind `after`, in the order they were placed. `after` is an order of an earlier page.
    fn list(&self, after: Option<OrderId>, limit: usize) -> BoxFuture<'_, Result<Vec<Order>, StoreError>>;
}

/// An order as a store keeps it.
fn encode(order: &Order) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(order).map_err(StoreError::refused)
}

/// An order from a store.
fn decode(bytes: &[u8]) -> Result<Order, StoreError> {
    serde_json::from_slice(bytes).map_err(StoreError::refused)
}
