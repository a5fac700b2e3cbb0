//! Real `orders` processes on real servers.
use std::process::Command;

mod accepted;
mod away;
mod effects;
mod once;
mod process;
mod refused;
mod roles;
mod rolling;
mod stop;
mod tls;

/// What runs a node.
fn program(arguments: &[String]) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_orders"));
    program.arg("node").args(arguments);
    program
}
