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

#[handler]
async fn place(_: PlaceOrder, _: String) -> Outcome<PlaceOrder> {
    Ok(1)
}

#[handler]
async fn count(_: CountOrders, _: &Mediator) -> Outcome<CountOrders> {
    Ok(1)
}

#[handler]
async fn on_placed(_: OrderPlaced, _: Context) -> Handled {
    Ok(())
}

#[handler]
async fn on_placed_too(_: OrderPlaced, _: &mut Context) -> Handled {
    Ok(())
}

fn main() {}
