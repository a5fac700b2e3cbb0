//! What travels between the nodes. The wire names are for good; a change of meaning is a new version.
use convoke::{Command, Event, Query};
use garde::Validate;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Item, Money, Order, OrderId, Status, validation::by_json_name};

/// Places an order. One key places one order, however often it is sent.
#[derive(Debug, Clone, Serialize, Deserialize, Validate, Command)]
#[command(name = "orders.place.v1", reply = OrderPlacedReply, idempotent, validate = by_json_name)]
#[serde(rename_all = "camelCase")]
pub struct PlaceOrder {
    /// Who orders.
    #[garde(length(chars, min = 1, max = 64))]
    pub customer_id: String,
    /// What is ordered.
    #[garde(length(min = 1, max = Order::ITEMS_MAX), dive)]
    pub items: Vec<Item>,
}

/// The answer to [`PlaceOrder`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderPlacedReply {
    /// Names the order.
    pub order_id: OrderId,
    /// What it costs.
    pub total_amount: Money,
    /// How far it has come.
    pub status: Status,
    /// When it was placed.
    pub created_at: Timestamp,
    /// The node that placed it.
    pub handled_by: String,
}

/// Asks for one order.
#[derive(Debug, Clone, Serialize, Deserialize, Query)]
#[query(name = "orders.get.v1", reply = Order, error = OrderError)]
#[serde(rename_all = "camelCase")]
pub struct GetOrder {
    /// Which one.
    pub order_id: OrderId,
}

/// Asks for a page of orders, oldest first.
#[derive(Debug, Clone, Serialize, Deserialize, Validate, Query)]
#[query(name = "orders.list.v1", reply = OrderPage, error = OrderError, validate = by_json_name)]
#[serde(rename_all = "camelCase")]
pub struct ListOrders {
    /// How many at most.
    #[garde(range(min = 1, max = ListOrders::LIMIT_MAX))]
    #[serde(default = "ListOrders::limit")]
    pub limit: usize,
    /// The last order of the page before.
    #[garde(skip)]
    #[serde(default)]
    pub after: Option<OrderId>,
}

impl ListOrders {
    /// Most orders of one page.
    pub const LIMIT_MAX: usize = 100;

    fn limit() -> usize {
        20
    }
}

/// A page of orders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderPage {
    /// The orders, oldest first.
    pub orders: Vec<Order>,
    /// The next page's `after`; none when this page was not full.
    pub next: Option<OrderId>,
}

/// Ships an order.
#[derive(Debug, Clone, Serialize, Deserialize, Command)]
#[command(name = "orders.ship.v1", reply = OrderShippedReply, error = OrderError)]
#[serde(rename_all = "camelCase")]
pub struct ShipOrder {
    /// Which one.
    pub order_id: OrderId,
}

/// The answer to [`ShipOrder`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderShippedReply {
    /// Names the order.
    pub order_id: OrderId,
    /// `Shipped`.
    pub status: Status,
    /// Where the parcel is.
    pub tracking_number: String,
}

/// An order was placed.
#[derive(Debug, Clone, Serialize, Deserialize, Event)]
#[event(name = "orders.placed.v1", key = order_id)]
#[serde(rename_all = "camelCase")]
pub struct OrderPlaced {
    /// Names the order.
    pub order_id: OrderId,
    /// Who placed it.
    pub customer_id: String,
    /// What it costs.
    pub total_amount: Money,
}

/// An order was shipped.
#[derive(Debug, Clone, Serialize, Deserialize, Event)]
#[event(name = "orders.shipped.v1", key = order_id)]
#[serde(rename_all = "camelCase")]
pub struct OrderShipped {
    /// Names the order.
    pub order_id: OrderId,
    /// Where the parcel is.
    pub tracking_number: String,
}

/// Why a request about an order is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum OrderError {
    /// There is no such order.
    #[error("there is no order {0}")]
    NotFound(OrderId),
    /// It is on its way already.
    #[error("the order {0} was shipped before")]
    AlreadyShipped(OrderId),
    /// The orders cannot be reached.
    #[error("the orders cannot be reached now, try again later")]
    Unavailable,
}
