//! The program `orders`: see `orders --help`.
use std::process::ExitCode;

use clap::Parser;
use convoke::{Error, signal};
use orders::{
    cli::{Cli, DemoFlags, LogFormat, NodeFlags, Run},
    demo::Demo,
    logging, node,
    settings::Settings,
};
use tracing::info;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("orders: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<(), Error> {
    logging::start(cli.log_format, &cli.log).map_err(Error::start)?;
    match cli.command.unwrap_or(Run::Demo(DemoFlags::default())) {
        Run::Demo(flags) => demo(&flags).await,
        Run::Node(flags) => one_node(&flags, cli.log_format).await,
    }
}

async fn demo(flags: &DemoFlags) -> Result<(), Error> {
    let demo = Demo::start(flags.port).await?;
    println!("\n{}", demo.introduction());
    demo.run_until(signal()).await
}

async fn one_node(flags: &NodeFlags, format: LogFormat) -> Result<(), Error> {
    let settings = Settings::load(flags).map_err(Error::start)?;
    let running = node::start(&settings).await?;
    let id = running.node().id().to_owned();
    say(format, &id, &format!("{id} listens on {}", running.address()));
    let report = running.run_until(signal()).await?;
    say(format, &id, &format!("{id} ended: {report}"));
    Ok(())
}

/// To whoever started the program, whatever is logged; as a log line where programs read them.
fn say(format: LogFormat, node: &str, line: &str) {
    match format {
        LogFormat::Text => println!("{line}"),
        LogFormat::Json => info!(node, "{line}"),
    }
}
