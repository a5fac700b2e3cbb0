//! An order, and what may happen to it. Nothing here knows how it is stored or asked for.
use std::{fmt, str::FromStr};

use garde::Validate;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Money;

/// Names an order. It is the id of the command that placed it, so a repeated run places no second one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OrderId(Uuid);

impl OrderId {
    /// The same id with a small number of up to 12 bits in it, behind the time: a place for whoever stores it to
    /// note where.
    #[must_use]
    pub fn marked(self, mark: u16) -> Self {
        let [high, low] = mark.to_be_bytes();
        let mut bytes = self.0.into_bytes();
        bytes[6] = (bytes[6] & 0xf0) | (high & 0x0f);
        bytes[7] = low;
        Self(Uuid::from_bytes(bytes))
    }

    /// The number in it. Every id has one.
    #[must_use]
    pub fn mark(self) -> u16 {
        let bytes = self.0.as_bytes();
        u16::from_be_bytes([bytes[6] & 0x0f, bytes[7]])
    }
}

impl From<Uuid> for OrderId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for OrderId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        Uuid::try_parse(text).map(Self)
    }
}

/// One line of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// What is bought.
    #[garde(length(chars, min = 1, max = 64))]
    pub product_id: String,
    /// What people call it.
    #[garde(length(chars, min = 1, max = 200))]
    pub product_name: String,
    /// How many.
    #[garde(range(min = 1, max = Item::QUANTITY_MAX))]
    pub quantity: i64,
    /// What one costs.
    #[garde(custom(price))]
    pub unit_price: Money,
}

impl Item {
    /// Most pieces of one line.
    pub const QUANTITY_MAX: i64 = 10_000;
    /// Highest price of one piece.
    pub const UNIT_PRICE_MAX: i64 = 1_000_000;

    fn total(&self) -> Money {
        self.unit_price.times(self.quantity).expect("validation bounds both, so the product fits")
    }
}

fn price(price: &Money, (): &()) -> garde::Result {
    if *price < Money::default() || *price > Money::from(Item::UNIT_PRICE_MAX) {
        return Err(garde::Error::new(format!("must be from 0 to {}", Item::UNIT_PRICE_MAX)));
    }
    if !price.is_payable() {
        return Err(garde::Error::new("must have at most 2 decimals"));
    }
    Ok(())
}

/// How far an order has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// It was placed.
    Created,
    /// It is on its way.
    Shipped,
}

/// An order as it is stored, and as `GET /orders/{id}` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    /// Names it.
    pub order_id: OrderId,
    /// Who placed it.
    pub customer_id: String,
    /// What was bought.
    pub items: Vec<Item>,
    /// What it costs.
    pub total_amount: Money,
    /// How far it has come.
    pub status: Status,
    /// When it was placed.
    pub created_at: Timestamp,
    /// The node that placed it.
    pub handled_by: String,
    /// Where the parcel is, once it is shipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracking_number: Option<String>,
}

impl Order {
    /// Most lines of one order.
    pub const ITEMS_MAX: usize = 100;

    /// A new order of validated items.
    pub fn place(order_id: OrderId, customer_id: String, items: Vec<Item>, handled_by: &str) -> Self {
        let total_amount = items.iter().map(Item::total).sum();
        let (status, created_at) = (Status::Created, Timestamp::now());
        let handled_by = handled_by.to_owned();
        Self {
            order_id,
            customer_id,
            items,
            total_amount,
            status,
            created_at,
            handled_by,
            tracking_number: None,
        }
    }

    /// The shipped order. `None` when it was shipped before.
    #[must_use]
    pub fn shipped(&self, tracking_number: &str) -> Option<Self> {
        match self.status {
            Status::Shipped => None,
            Status::Created => {
                let tracking_number = Some(tracking_number.to_owned());
                Some(Self { status: Status::Shipped, tracking_number, ..self.clone() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(quantity: i64, unit_price: &str) -> Item {
        let unit_price = unit_price.parse().expect("an amount");
        Item { product_id: "P-1".into(), product_name: "Pen".into(), quantity, unit_price }
    }

    fn order(items: Vec<Item>) -> Order {
        Order::place(OrderId::from(Uuid::now_v7()), "C-1".into(), items, "node1")
    }

    #[test]
    fn the_total_is_exact() {
        let order = order(vec![item(3, "0.1"), item(1, "999.99")]);
        assert_eq!(order.total_amount.to_string(), "1000.29");
    }

    #[test]
    fn the_largest_order_has_a_total() {
        let line = item(Item::QUANTITY_MAX, &Item::UNIT_PRICE_MAX.to_string());
        let order = order(vec![line; Order::ITEMS_MAX]);
        assert_eq!(order.total_amount.to_string(), "1000000000000.00");
    }

    #[test]
    fn an_id_keeps_its_time_and_its_number() {
        for mark in [0, 7, 63, 4095] {
            let id = Uuid::now_v7();
            let marked = OrderId::from(id).marked(mark);
            assert_eq!((marked.mark(), marked.marked(mark)), (mark, marked));
            assert_eq!(marked.0.as_bytes()[..6], id.as_bytes()[..6]);
            assert_eq!(marked.0.get_version_num(), 7);
            assert_eq!(marked.to_string().parse(), Ok(marked));
        }
    }

    #[test]
    fn an_order_is_shipped_once() {
        let shipped = order(vec![item(1, "1")]).shipped("T-1").expect("it was not shipped yet");
        assert_eq!((shipped.status, shipped.tracking_number.as_deref()), (Status::Shipped, Some("T-1")));
        assert_eq!(shipped.shipped("T-2"), None);
    }

    #[test]
    fn a_price_is_bounded_and_payable() {
        for wrong in ["-0.01", "0.001", "1000000.01"] {
            assert!(item(1, wrong).validate().is_err(), "{wrong}");
        }
        item(1, "1000000").validate().expect("the highest price");
        item(1, "0").validate().expect("a present");
    }
}
