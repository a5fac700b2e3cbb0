use std::fmt;

use convoke::{
    BoxFuture, StoreError,
    redis::{Connection, Script, redis::cmd},
};
use futures_util::future::try_join_all;

use super::{OrderRepository, decode, encode};
use crate::{Order, OrderId};

/// Orders in Redis: a hash for each, and one sorted index of their ids.
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
            // One hash tag: an order and the index change together, also in a Redis Cluster.
            prefix: format!("{prefix}:{{orders}}"),
        }
    }

    fn key(&self, id: OrderId) -> String {
        format!("{}:order:{id}", self.prefix)
    }

    fn index(&self) -> String {
        format!("{}:index", self.prefix)
    }

    async fn put_now(&self, order: &Order) -> Result<Order, StoreError> {
        let (key, index) = (self.key(order.order_id), self.index());
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
        let mut command = cmd("ZRANGE");
        command.arg(self.index()).arg(start).arg("+").arg("BYLEX").arg("LIMIT").arg(0).arg(limit);
        let ids: Vec<String> = self.connection.query(&command).await?;
        let ids = ids.iter().map(|id| id.parse().map_err(StoreError::refused));
        let ids = ids.collect::<Result<Vec<OrderId>, _>>()?;
        let orders = try_join_all(ids.into_iter().map(|id| self.get_now(id))).await?;
        Ok(orders.into_iter().flatten().map(|(order, _)| order).collect())
    }
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

    fn list(&self, after: Option<OrderId>, limit: usize) -> BoxFuture<'_, Result<Vec<Order>, StoreError>> {
        Box::pin(self.list_now(after, limit))
    }
}

impl fmt::Debug for RedisOrders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOrders").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}
