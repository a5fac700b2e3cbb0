use convoke::{Command, Invalid};
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize, Command)]
#[command(name = "orders.place.v1", validate = takes_text)]
struct Place;

fn takes_text(_: &str) -> Result<(), Invalid> {
    Ok(())
}

#[derive(Clone, Serialize, Deserialize, Command)]
#[command(name = "orders.cancel.v1", validate = answers_bool)]
struct Cancel;

fn answers_bool(_: &Cancel) -> bool {
    true
}

fn main() {}
