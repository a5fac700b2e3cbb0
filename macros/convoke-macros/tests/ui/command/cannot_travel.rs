use convoke::Command;
use serde::{Deserialize, Serialize};

#[derive(Clone, Command)]
#[command(name = "orders.one.v1")]
struct WithoutSerde;

#[derive(Serialize, Deserialize, Command)]
#[command(name = "orders.two.v1")]
struct WithoutClone;

struct Reply;

#[derive(Clone, Serialize, Deserialize, Command)]
#[command(name = "orders.three.v1", reply = Reply)]
struct ReplyWithoutSerde;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Refused;

#[derive(Clone, Serialize, Deserialize, Command)]
#[command(name = "orders.four.v1", error = Refused)]
struct ErrorIsNone;

fn main() {}
