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

#[handler(group = "Bill ing", view = true)]
async fn on_placed(_: OrderPlaced) -> Handled {
    Ok(())
}

#[handler(group = "")]
async fn on_placed_2(_: OrderPlaced) -> Handled {
    Ok(())
}

#[handler(group = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")]
async fn on_placed_3(_: OrderPlaced) -> Handled {
    Ok(())
}

#[handler(group("billing"))]
async fn on_placed_4(_: OrderPlaced) -> Handled {
    Ok(())
}

#[handler(leader = "maybe", on_store_error = "ignore")]
async fn place(_: PlaceOrder) -> Outcome<PlaceOrder> {
    Ok(1)
}

#[handler(timeout = "2 seconds", concurrency = 0)]
async fn count(_: CountOrders) -> Outcome<CountOrders> {
    Ok(1)
}

#[handler(timeout = 2, concurrency = "8", leader = 1, on_store_error)]
async fn count_2(_: CountOrders) -> Outcome<CountOrders> {
    Ok(1)
}

#[handler(timeout =)]
async fn count_3(_: CountOrders) -> Outcome<CountOrders> {
    Ok(1)
}

#[handler(on_dead = "drop", attempts = 0, backoff = "soon")]
async fn on_placed_5(_: OrderPlaced) -> Handled {
    Ok(())
}

#[handler(on_dead, attempts = "3", backoff = 1)]
async fn on_placed_6(_: OrderPlaced) -> Handled {
    Ok(())
}

#[handler(view, on_dead = "park")]
async fn on_placed_7(_: OrderPlaced) -> Handled {
    Ok(())
}

fn main() {}
