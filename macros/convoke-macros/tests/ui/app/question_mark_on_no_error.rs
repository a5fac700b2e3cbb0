#![expect(unused_imports, reason = "one preamble for all")]
use convoke::*;
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize, Command)]
#[command(name = "orders.place.v1", reply = u64)]
struct PlaceOrder;

#[derive(Clone, Serialize, Deserialize, Query)]
#[query(name = "orders.count.v1", reply = u64)]
struct CountOrders;

#[derive(Clone, Serialize, Deserialize, Event)]
#[event(name = "orders.placed.v1")]
struct OrderPlaced;

fn text() -> Result<u64, String> {
    Ok(1)
}

fn boxed() -> Result<u64, Box<dyn std::error::Error + std::marker::Send + Sync>> {
    Ok(1)
}

#[handler]
async fn place(_: PlaceOrder) -> Outcome<PlaceOrder> {
    text()?;
    boxed()?;
    Ok(1)
}

fn main() {}
