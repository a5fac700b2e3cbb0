use convoke::Command;
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize, Command)]
#[command(name = "orders.move.v1", key = id)]
enum Move {
    Up { id: u64 },
    Down { id: u64 },
}

#[derive(Clone, Serialize, Deserialize, Command)]
#[command(name = "orders.place.v1", key = orderid)]
struct NoSuchField {
    order_id: u64,
}

#[derive(Clone, Serialize, Deserialize, Command)]
#[command(name = "orders.tag.v1", key = tags)]
struct NoText {
    tags: Vec<u64>,
}

fn main() {}
