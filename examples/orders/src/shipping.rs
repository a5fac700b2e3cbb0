//! Shipping numbers: 1, 2, 3 and so on, one for each order, without a gap. Whoever gives them out must be alone, so the
//! leader does.
use convoke::{
    Command, Context, Fence, Outcome, Query, StoreError,
    cluster::{
        Error,
        kv::{Expected, Kv, Swap},
    },
    handlers,
};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::OrderId;

/// Gives an order its shipping number, or tells the one it has. Any node takes it; the leader handles it. A leader that
/// is lost on the way is no matter: the command may be repeated, so it is, and the next leader answers.
#[derive(Debug, Clone, Serialize, Deserialize, Command)]
#[command(name = "orders.number-shipment.v1", reply = ShippingNumber, error = ShippingError, idempotent)]
#[serde(rename_all = "camelCase")]
pub struct NumberShipment {
    /// Which one.
    pub order_id: OrderId,
}

/// Asks for the number that was given out last. Only the leader answers; another node says who that is.
#[derive(Debug, Clone, Serialize, Deserialize, Query)]
#[query(name = "orders.last-shipment.v1", reply = LastNumber, error = ShippingError)]
pub struct LastShipment {}

/// The answer to [`NumberShipment`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShippingNumber {
    /// The order.
    pub order_id: OrderId,
    /// Its number.
    pub number: u64,
    /// The leader that said so.
    pub handled_by: String,
    /// What it did so under.
    pub fence: Fence,
}

/// The answer to [`LastShipment`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastNumber {
    /// 0 when none was given out.
    pub number: u64,
    /// The leader that said so.
    pub handled_by: String,
    /// What it did so under.
    pub fence: Fence,
}

/// Why the leader refuses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ShippingError {
    /// There is no such order.
    #[error("there is no order {order_id}")]
    NoOrder {
        /// Which one was asked for.
        order_id: OrderId,
        /// What the leader looked under.
        fence: Fence,
    },
}

impl ShippingError {
    /// What the leader refused under.
    #[must_use]
    pub fn fence(&self) -> Fence {
        let Self::NoOrder { fence, .. } = self;
        *fence
    }
}

/// The handlers. The numbers are in the cluster: `shipping/last`, and `shipping/order/<id>` for each order.
#[derive(Debug)]
pub struct Shipping {
    kv: Kv,
    repository: crate::Repository,
    /// One at a time on this node. Two leaders at once, of which one does not know yet that it was one, meet at the
    /// store: it refuses what carries an older term.
    turn: Mutex<()>,
}

const LAST: &str = "shipping/last";
/// How often it is tried again when a number was given out between the reading and the writing: what a former leader
/// wrote at its last moment may arrive then.
const TRIES_MAX: u32 = 3;

#[handlers]
impl Shipping {
    #[handler(leader)]
    async fn number(&self, command: NumberShipment, cx: &Context) -> Outcome<NumberShipment> {
        let (order_id, fence) = (command.order_id, fence(cx));
        if self.repository.get(order_id).await?.is_none() {
            Err(ShippingError::NoOrder { order_id, fence })?;
        }
        let _turn = self.turn.lock().await;
        let number = self.give(order_id, fence.term).await?;
        Ok(ShippingNumber { order_id, number, handled_by: cx.node().to_owned(), fence })
    }

    #[handler(leader = "reject")]
    async fn last(&self, _: LastShipment, cx: &Context) -> Outcome<LastShipment> {
        let number = self.read(LAST).await?.map_or(0, |(last, _)| last.number);
        Ok(LastNumber { number, handled_by: cx.node().to_owned(), fence: fence(cx) })
    }
}

/// A number and the order that got it.
#[derive(Serialize, Deserialize)]
struct Given {
    number: u64,
    order_id: OrderId,
}

impl Shipping {
    /// On this store, for the orders of this repository.
    #[must_use]
    pub fn new(kv: Kv, repository: crate::Repository) -> Self {
        Self { kv, repository, turn: Mutex::default() }
    }

    async fn give(&self, order_id: OrderId, term: u64) -> Result<u64, Failed> {
        for _ in 0..TRIES_MAX {
            if let Some(number) = self.try_to_give(order_id, term).await? {
                return Ok(number);
            }
        }
        Err(Failed::Overtaken)
    }

    /// The last number names its order, so that a leader which died between the two writes left nothing half done: its
    /// successor writes the order's first. `None` when another number was given out meanwhile.
    async fn try_to_give(&self, order_id: OrderId, term: u64) -> Result<Option<u64>, Failed> {
        let last = self.read(LAST).await?;
        if let Some((last, _)) = &last {
            self.note(last, term).await?;
        }
        if let Some((given, _)) = self.read(&of_order(order_id)).await? {
            return Ok(Some(given.number));
        }
        let (before, expected) =
            last.map_or((0, Expected::Absent), |(last, version)| (last.number, Expected::Version(version)));
        let given = Given { number: before + 1, order_id };
        let bytes = serde_json::to_vec(&given).map_err(Failed::Content)?;
        let write = self.kv.compare_and_swap(LAST, expected, bytes).fence(LAST, term);
        if !write.await.map_err(Failed::Cluster)?.is_done() {
            return Ok(None);
        }
        self.note(&given, term).await?;
        Ok(Some(given.number))
    }

    /// Writes which number an order has, unless that is known.
    async fn note(&self, given: &Given, term: u64) -> Result<(), Failed> {
        let bytes = serde_json::to_vec(given).map_err(Failed::Content)?;
        let write = self.kv.compare_and_swap(of_order(given.order_id), Expected::Absent, bytes);
        let (Swap::Done { .. } | Swap::Conflict { .. }) =
            write.fence(LAST, term).await.map_err(Failed::Cluster)?;
        Ok(())
    }

    async fn read(&self, key: &str) -> Result<Option<(Given, u64)>, Failed> {
        let Some(value) = self.kv.get(key).await.map_err(Failed::Cluster)? else { return Ok(None) };
        let given = serde_json::from_slice(&value.bytes).map_err(Failed::Content)?;
        Ok(Some((given, value.version)))
    }
}

fn of_order(id: OrderId) -> String {
    format!("shipping/order/{id}")
}

fn fence(cx: &Context) -> Fence {
    cx.leader_fence().expect("a handler for the leader runs under its fence")
}

/// Why a number could not be given out. It is known by then whether it was.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("the cluster: {0}")]
    Cluster(Error),
    #[error("what the cluster keeps: {0}")]
    Content(serde_json::Error),
    #[error("another leader gave out numbers at the same time, again and again")]
    Overtaken,
    #[error(transparent)]
    Orders(#[from] StoreError),
}
