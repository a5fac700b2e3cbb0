use convoke::Command;
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize, Command)]
#[command(name = "orders.place.v1", validate)]
struct Place {
    items: Vec<u64>,
}

fn main() {}
