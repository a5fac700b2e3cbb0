use convoke::Command;
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize, Command)]
#[command(name = "orders.place.v1", rply = Result<u64, u64>, durable, timeout("2s"))]
struct Unknown;

fn main() {}
