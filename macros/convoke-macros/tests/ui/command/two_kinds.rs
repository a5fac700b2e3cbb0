use convoke::{Command, Query};
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize, Command, Query)]
#[command(name = "orders.place.v1")]
#[query(name = "orders.count.v1")]
struct Both;

fn main() {}
