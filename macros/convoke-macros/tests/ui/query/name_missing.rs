use convoke::Query;
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize, Query)]
struct Bare;

fn main() {}
