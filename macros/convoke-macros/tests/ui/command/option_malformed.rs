use convoke::Command;
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize, Command)]
#[command = "orders.place.v1"]
struct WithoutParentheses;

#[derive(Clone, Serialize, Deserialize, Command)]
#[command("orders.place.v1")]
struct WithoutName;

#[derive(Clone, Serialize, Deserialize, Command)]
#[command(name = "orders.place.v1" idempotent)]
struct WithoutComma;

#[derive(Clone, Serialize, Deserialize, Command)]
#[command(name = "orders.place.v2", idempotent = true, reply, error = , key)]
struct Values;

#[derive(Clone, Serialize, Deserialize, Command)]
#[command(name = orders.place.v3, reply = 5, error = "text", key = "id", validate = "check", crate = convoke)]
struct Kinds;

#[derive(Clone, Serialize, Deserialize, Command)]
#[command(name = "orders.place.v4", crate = "not a path")]
struct NoPath;

#[derive(Clone, Serialize, Deserialize, Command)]
#[command(name = "orders.place.v5", crate =)]
struct NoValue;

fn main() {}
