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

struct Orders;

#[handlers]
impl Orders {
    #[handler]
    async fn place(&self, _: PlaceOrder) -> Outcome<OrderPlaced> {
        Ok(())
    }
    #[handler]
    async fn count(&self, _: CountOrders) -> Result<u64, std::io::Error> {
        Ok(1)
    }
}

fn main() {}
