use convoke::Query;
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize, Query)]
#[query(name = "orders.count.v1", reply = u64, idempotent, nmae)]
struct Count;

fn main() {}
