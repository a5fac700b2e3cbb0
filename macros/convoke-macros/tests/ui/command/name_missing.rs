use convoke::Command;
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize, Command)]
struct Bare;

#[derive(Clone, Serialize, Deserialize, Command)]
#[command(reply = u64)]
struct Answered;

#[derive(Clone, Serialize, Deserialize, Command)]
#[command]
struct Empty;

fn main() {}
