use convoke::Command;
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize, Command)]
#[command(name = "")]
struct Empty;

#[derive(Clone, Serialize, Deserialize, Command)]
#[command(name = "Orders.PlaceOrder.v1")]
struct UpperCase;

#[derive(Clone, Serialize, Deserialize, Command)]
#[command(name = "orders.place order")]
struct Blank;

#[derive(Clone, Serialize, Deserialize, Command)]
#[command(name = "orders..place.v1")]
struct Dots;

#[derive(Clone, Serialize, Deserialize, Command)]
#[command(name = "orders.place")]
struct Unversioned;

#[derive(Clone, Serialize, Deserialize, Command)]
#[command(name = "v1")]
struct VersionOnly;

#[derive(Clone, Serialize, Deserialize, Command)]
#[command(name = "orders.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.v1")]
struct Long;

fn main() {}
