use convoke::Event;
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize, Event)]
#[event(name = "Orders Placed", reply = u64, error = Refused, idempotent, group = "billing")]
struct OrderPlaced;

fn main() {}
