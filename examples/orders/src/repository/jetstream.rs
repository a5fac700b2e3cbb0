use std::{fmt, time::Duration};

use bytes::Bytes;
use convoke::{
    BoxError, BoxFuture, StoreError,
    nats::async_nats::{
        connection::State,
        jetstream::{
            Context,
            kv::{self, CreateErrorKind, Store, UpdateErrorKind},
            stream::{DirectGetErrorKind, LastRawMessageErrorKind, StorageType},
        },
    },
};
use futures_util::future::try_join_all;
use tokio::{sync::OnceCell, time::timeout};

use super::{OrderRepository, decode, encode};
use crate::{Order, OrderId};

/// How long one call to the server may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// Orders in a key-value bucket of JetStream: `order.<id>` is the order, and `placed.<id>`, written once and before
/// it, is its place in the list.
pub struct JetStreamOrders {
    context: Context,
    bucket: String,
    replicas: usize,
    store: OnceCell<Store>,
}

impl JetStreamOrders {
    /// Orders in the bucket `<namespace>_orders`, made when it is first used and not there.
    #[must_use]
    pub fn new(context: Context, namespace: &str, replicas: usize) -> Self {
        Self { context, bucket: format!("{namespace}_orders"), replicas, store: OnceCell::new() }
    }

    async fn store(&self) -> Result<&Store, StoreError> {
        self.store.get_or_try_init(|| self.open()).await
    }

    async fn open(&self) -> Result<Store, StoreError> {
        let bucket = &self.bucket;
        if let Ok(store) = self.call(self.context.get_key_value(bucket)).await? {
            return Ok(store);
        }
        let config = kv::Config {
            bucket: bucket.clone(),
            description: "orders".to_owned(),
            history: 1,
            storage: StorageType::File,
            num_replicas: self.replicas,
            ..kv::Config::default()
        };
        self.call(self.context.create_key_value(config)).await?.map_err(StoreError::unavailable)
    }

    /// Fails at once without a connection and in time with one: the client alone would wait for either.
    async fn call<T>(&self, answer: impl IntoFuture<Output = T>) -> Result<T, StoreError> {
        if self.context.client().connection_state() != State::Connected {
            return Err(StoreError::unavailable("there is no connection to NATS"));
        }
        timeout(CALL_TIMEOUT, answer.into_future()).await.map_err(StoreError::unavailable)
    }

    fn subject(&self, key: &str) -> String {
        format!("$KV.{}.{key}", self.bucket)
    }

    /// Writes a key that nobody wrote before; `false` when somebody did.
    async fn create(&self, key: &str, value: Vec<u8>) -> Result<bool, StoreError> {
        match self.call(self.store().await?.create(key, Bytes::from(value))).await? {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == CreateErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(StoreError::unavailable(error)),
        }
    }

    /// Asks the stream's leader, which has seen every write that was answered; its followers may lag.
    async fn read(&self, key: &str) -> Result<Option<(Bytes, u64)>, StoreError> {
        let store = self.store().await?;
        match self.call(store.stream.get_last_raw_message_by_subject(&self.subject(key))).await? {
            Ok(message) => Ok(Some((message.payload, message.sequence))),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(StoreError::unavailable(error)),
        }
    }

    async fn put_now(&self, order: &Order) -> Result<Order, StoreError> {
        let id = order.order_id;
        // A place without an order is skipped by lists; an order without a place would be missing from them.
        self.create(&format!("placed.{id}"), Vec::new()).await?;
        if self.create(&format!("order.{id}"), encode(order)?).await? {
            return Ok(order.clone());
        }
        let stored = self.get_now(id).await?;
        stored
            .map(|(stored, _)| stored)
            .ok_or_else(|| StoreError::unavailable("the order is not readable yet"))
    }

    async fn get_now(&self, id: OrderId) -> Result<Option<(Order, u64)>, StoreError> {
        let read = self.read(&format!("order.{id}")).await?;
        read.map(|(bytes, revision)| Ok((decode(&bytes)?, revision))).transpose()
    }

    async fn replace_now(&self, order: &Order, version: u64) -> Result<bool, StoreError> {
        let key = format!("order.{}", order.order_id);
        let bytes = Bytes::from(encode(order)?);
        match self.call(self.store().await?.update(key, bytes, version)).await? {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => Ok(false),
            Err(error) => Err(StoreError::unavailable(error)),
        }
    }

    async fn list_now(&self, after: Option<OrderId>, limit: usize) -> Result<Vec<Order>, StoreError> {
        let mut next = match after {
            None => 1,
            Some(id) => match self.read(&format!("placed.{id}")).await? {
                Some((_, place)) => place + 1,
                None => return Ok(Vec::new()),
            },
        };
        let mut orders = Vec::new();
        while orders.len() < limit {
            let places = self.places(next, limit - orders.len()).await?;
            let Some((last, _)) = places.last() else { break };
            next = last + 1;
            let found = try_join_all(places.iter().map(|(_, id)| self.get_now(*id))).await?;
            orders.extend(found.into_iter().flatten().map(|(order, _)| order));
        }
        Ok(orders)
    }

    /// The next places from this one on, with the ids that stand there.
    async fn places(&self, mut next: u64, limit: usize) -> Result<Vec<(u64, OrderId)>, StoreError> {
        let stream = &self.store().await?.stream;
        let (all, before) = (self.subject("placed.>"), self.subject("placed."));
        let mut places = Vec::new();
        while places.len() < limit {
            match self.call(stream.direct_get_next_for_subject(all.as_str(), Some(next))).await? {
                Ok(message) => {
                    let id = message.subject.strip_prefix(&before).unwrap_or_default();
                    places.push((
                        message.sequence,
                        id.parse().map_err(BoxError::from).map_err(StoreError::refused)?,
                    ));
                    next = message.sequence + 1;
                }
                Err(error) if error.kind() == DirectGetErrorKind::NotFound => break,
                Err(error) => return Err(StoreError::unavailable(error)),
            }
        }
        Ok(places)
    }
}

impl OrderRepository for JetStreamOrders {
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

impl fmt::Debug for JetStreamOrders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JetStreamOrders").field("bucket", &self.bucket).finish_non_exhaustive()
    }
}
