//! The program `three-nodes-embedded`: see `three-nodes-embedded --help`.
use std::process::ExitCode;

use clap::Parser;
use three_nodes::{
    cli::{Cli, LogFormat},
    logging,
    running::Running,
};
use tracing::info;

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("three-nodes-embedded: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: &Cli) -> Result<(), String> {
    logging::start(cli.log_format, &cli.log)?;
    let running = Running::start(cli).await?;
    let name = running.name().to_owned();
    let (api, health, raft) = (running.api(), running.health(), running.raft());
    let line = format!("{name} serves http://{api}, health at http://{health}, other nodes at {raft}");
    say(cli.log_format, &line);
    let aborted = running.run_until(convoke::signal()).await?;
    say(cli.log_format, &format!("{name} ended; HTTP requests cut off: {aborted}"));
    Ok(())
}

/// To whoever started the program, whatever is logged; as a log line where programs read them.
fn say(format: LogFormat, line: &str) {
    match format {
        LogFormat::Text => println!("{line}"),
        LogFormat::Json => info!("{line}"),
    }
}
