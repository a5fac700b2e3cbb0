use convoke::Command;
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize, Command)]
#[command(name = "store.put.v1")]
struct Put<T> {
    value: T,
}

#[derive(Clone, Serialize, Deserialize, Command)]
#[command(name = "store.find.v1")]
struct Find<'a> {
    name: &'a str,
}

#[derive(Clone, Serialize, Deserialize, Command)]
#[command(name = "store.fill.v1")]
struct Fill<const N: usize>;

fn main() {}
