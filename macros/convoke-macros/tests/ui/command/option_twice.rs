use convoke::Command;
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize, Command)]
#[command(name = "orders.place.v1", reply = u64, reply = u32)]
#[command(name = "orders.place.v2")]
struct Twice;

fn main() {}
