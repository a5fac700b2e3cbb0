//! The program `convoke`: see `convoke --help`.
use std::process::ExitCode;

use clap::Parser;
use convoke_cli::cli::Cli;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    convoke_cli::run(Cli::parse()).await.into()
}
