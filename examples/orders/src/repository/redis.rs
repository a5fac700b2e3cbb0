use std::fmt;

use convoke::{
    BoxFuture, Context, StoreError,
    redis::{Commit, Connection, Script, Slot, redis::cmd},
};
use futures_util::future::try_join_all;

use super::{OrderRepository, decode, encode};
use crate::{Order, OrderId};

/// Over so many slots the stores spread what they keep: their default.
const SLOTS: u16 = 64;

/// Orders in Redis: a hash for each, and in each slot a sorted index of the ids there.
///
/// An order lies in the slot of the claim under which it was placed, so that it is stored in one step with the
/// outcome and the event. Its id carries the number of the slot, so whoever has the id finds it.
pub struct RedisOrders {
    // What may run several times as well as once, so that a lost answer is asked for again.
    connection: Connection,
    put: Script,
    replace: Script,
    prefix: String,
}

impl RedisOrders {
    /// Orders over the connection of the node's stores, under keys with this prefix.
    #[must_use]
    pub fn new(connection: &Connection, prefix: &str) -> Self {
        Self {
            connection: connection.repeating(),
            put: Script::new(include_str!("redis/put.lua")),
            replace: Script::new(include_str!("redis/replace.lua")),
            prefix: prefix.to_owned(),
        }
    }

    fn key(&self, id: OrderId) -> String {
        format!("{}:{}:order:{id}", self.prefix, slot(id).tag())
    }

    fn index(&self, slot: Slot) -> String {
        format!("{}:{}:orders", self.prefix, slot.tag())
    }

    async fn put_now(&self, order: &Order) -> Result<Order, StoreError> {
        let (key, index) = (self.key(order.order_id), self.index(slot(order.order_id)));
        let (id, json) = (order.order_id.to_string(), encode(order)?);
        let stored: Vec<u8> =
            self.connection.invoke(&self.put, &[&key, &index], &[id.as_bytes(), &json]).await?;
        decode(&stored)
    }

    async fn get_now(&self, id: OrderId) -> Result<Option<(Order, u64)>, StoreError> {
        let mut command = cmd("HMGET");
        command.arg(self.key(id)).arg("order").arg("version");
        let (json, version): (Option<Vec<u8>>, Option<u64>) = self.connection.query(&command).await?;
        json.zip(version).map(|(json, version)| Ok((decode(&json)?, version))).transpose()
    }

    async fn replace_now(&self, order: &Order, version: u64) -> Result<bool, StoreError> {
        let (key, version, json) = (self.key(order.order_id), version.to_string(), encode(order)?);
        self.connection.invoke(&self.replace, &[&key], &[version.as_bytes(), &json]).await
    }

    async fn list_now(&self, after: Option<OrderId>, limit: usize) -> Result<Vec<Order>, StoreError> {
        let start = after.map_or_else(|| "-".to_owned(), |id| format!("({id}"));
        let pages = (0..SLOTS).map(|slot| self.list_slot(Slot::new(slot), &start, limit));
        let mut ids: Vec<OrderId> = try_join_all(pages).await?.into_iter().flatten().collect();
        ids.sort_unstable(); // ids begin with the time
        ids.truncate(limit);
        let orders = try_join_all(ids.into_iter().map(|id| self.get_now(id))).await?;
        Ok(orders.into_iter().flatten().map(|(order, _)| order).collect())
    }

    async fn list_slot(&self, slot: Slot, start: &str, limit: usize) -> Result<Vec<OrderId>, StoreError> {
        let mut command = cmd("ZRANGE");
        command.arg(self.index(slot)).arg(start).arg("+").arg("BYLEX").arg("LIMIT").arg(0).arg(limit);
        let ids: Vec<String> = self.connection.query(&command).await?;
        ids.iter().map(|id| id.parse().map_err(StoreError::refused)).collect()
    }

    /// No order can be there: it is stored with the outcome, and a key has one.
    async fn place_with_outcome(&self, order: &Order, cx: &Context) -> Result<Order, StoreError> {
        let (key, id, json) = (self.key(order.order_id), order.order_id.to_string(), encode(order)?);
        let index = self.index(slot(order.order_id));
        let commit = Commit::new().if_absent(&key).hash_set(&key, &[("order", &json), ("version", b"1")]);
        match cx.commit_with(commit.sorted_add(&index, 0.0, id)) {
            Ok(()) => Ok(order.clone()),
            // The node's stores have no outbox: then it is stored before the outcome, and found by a repeated run.
            Err(_) => self.put_now(order).await,
        }
    }

    async fn change_with_events(
        &self,
        order: &Order,
        version: u64,
        cx: &Context,
    ) -> Result<bool, StoreError> {
        let (key, json, next) = (self.key(order.order_id), encode(order)?, (version + 1).to_string());
        let commit = Commit::new().if_field(&key, "version", version.to_string());
        let commit = commit.hash_set(&key, &[("order", &json), ("version", next.as_bytes())]);
        match cx.commit_with(commit) {
            Ok(()) => Ok(true), // else the handler runs again
            // It holds a claim that lies elsewhere, as an enqueued command does.
            Err(_) => self.replace_now(order, version).await,
        }
    }
}

/// Where an order lies.
fn slot(id: OrderId) -> Slot {
    Slot::new(id.mark() % SLOTS)
}

impl OrderRepository for RedisOrders {
    fn put<'a>(&'a self, order: &'a Order) -> BoxFuture<'a, Result<Order, StoreError>> {
        Box::pin(self.put_now(order))
    }

    fn get(&self, id: OrderId) -> BoxFuture<'_, Result<Option<(Order, u64)>, StoreError>> {
        Box::pin(self.get_now(id))
    }

    fn replace<'a>(&'a self, order: &'a Order, version: u64) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(self.replace_now(order, version))
    }

    fn id(&self, cx: &Context) -> OrderId {
        let id = OrderId::from(cx.id());
        match cx.commit_tag().as_deref().and_then(Slot::of) {
            Some(slot) => id.marked(slot.number()),
            None => id,
        }
    }

    fn place<'a>(&'a self, order: &'a Order, cx: &'a Context) -> BoxFuture<'a, Result<Order, StoreError>> {
        Box::pin(self.place_with_outcome(order, cx))
    }

    fn change<'a>(
        &'a self,
        order: &'a Order,
        version: u64,
        cx: &'a Context,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(self.change_with_events(order, version, cx))
    }

    fn list(&self, after: Option<OrderId>, limit: usize) -> BoxFuture<'_, Result<Vec<Order>, StoreError>> {
        Box::pin(self.list_now(after, limit))
    }
}

impl fmt::Debug for RedisOrders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOrders").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}
