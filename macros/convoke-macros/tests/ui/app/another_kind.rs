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

struct Plain;

async fn ask(mediator: Mediator, cx: &Context) {
    let _ = mediator.send(OrderPlaced).await;
    let _ = mediator.query(PlaceOrder).await;
    let _ = mediator.publish(CountOrders);
    cx.publish(PlaceOrder);
    let _ = catalog!(Plain);
}

fn main() {}
