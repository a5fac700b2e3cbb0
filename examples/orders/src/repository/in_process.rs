use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Mutex, MutexGuard, PoisonError},
};

use convoke::{BoxFuture, StoreError};

use super::OrderRepository;
use crate::{Order, OrderId};

/// Orders in the memory of this process, for all its nodes. They end with it.
#[derive(Debug, Default)]
pub struct InProcessOrders {
    // Ids are made in the order of time, so this is the order of placing.
    orders: Mutex<BTreeMap<OrderId, (Order, u64)>>,
}

impl InProcessOrders {
    /// Most orders that are kept; further ones are refused.
    pub const ORDERS_MAX: usize = 100_000;

    fn orders(&self) -> MutexGuard<'_, BTreeMap<OrderId, (Order, u64)>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put_now(&self, order: &Order) -> Result<Order, StoreError> {
        let mut orders = self.orders();
        if let Some((stored, _)) = orders.get(&order.order_id) {
            return Ok(stored.clone());
        }
        if orders.len() >= Self::ORDERS_MAX {
            return Err(StoreError::refused("this process keeps no more orders: give it NATS or Redis"));
        }
        orders.insert(order.order_id, (order.clone(), 1));
        Ok(order.clone())
    }

    fn replace_now(&self, order: &Order, version: u64) -> bool {
        match self.orders().get_mut(&order.order_id) {
            Some((stored, current)) if *current == version => {
                (*stored, *current) = (order.clone(), version + 1);
                true
            }
            _ => false,
        }
    }

    fn list_now(&self, after: Option<OrderId>, limit: usize) -> Vec<Order> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let orders = self.orders();
        orders.range((start, Bound::Unbounded)).take(limit).map(|(_, (order, _))| order.clone()).collect()
    }
}

impl OrderRepository for InProcessOrders {
    fn put<'a>(&'a self, order: &'a Order) -> BoxFuture<'a, Result<Order, StoreError>> {
        Box::pin(async move { self.put_now(order) })
    }

    fn get(&self, id: OrderId) -> BoxFuture<'_, Result<Option<(Order, u64)>, StoreError>> {
        Box::pin(async move { Ok(self.orders().get(&id).cloned()) })
    }

    fn replace<'a>(&'a self, order: &'a Order, version: u64) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move { Ok(self.replace_now(order, version)) })
    }

    fn list(&self, after: Option<OrderId>, limit: usize) -> BoxFuture<'_, Result<Vec<Order>, StoreError>> {
        Box::pin(async move { Ok(self.list_now(after, limit)) })
    }
}
