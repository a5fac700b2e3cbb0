//! The program `orders`: see `orders --help`.
use std::{process::ExitCode, sync::Arc};

use clap::Parser;
use convoke::{Error, signal};
use orders::{
    Effects, EventFeed, app,
    cli::{Cli, DemoFlags, DescribeFlags, LogFormat, NodeFlags, Output, Run},
    demo::Demo,
    logging, node,
    repository::InProcessOrders,
    running::node_config,
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
    let alone = cli.seed.node();
    if alone.is_some() && cli.command.is_some() {
        return Err(Error::start(
            "--cluster before a command runs a node by itself: write `orders node --cluster`",
        ));
    }
    let otherwise = alone.map_or_else(|| Run::Demo(DemoFlags::default()), |node| Run::Node(Box::new(node)));
    match cli.command.unwrap_or(otherwise) {
        Run::Demo(flags) => demo(&flags).await,
        Run::Node(flags) => one_node(&flags, cli.log_format).await,
        Run::Describe(flags) => describe(&flags),
    }
}

fn describe(flags: &DescribeFlags) -> Result<(), Error> {
    let app = app(Arc::new(InProcessOrders::default()), EventFeed::default(), Effects::default());
    let description = app.config(node_config(&flags.namespace)).describe()?;
    match flags.output {
        Output::Text => println!("{description}"),
        Output::Json => println!(
            "{}",
            serde_json::to_string_pretty(&description).map_err(|error| Error::start(error.to_string()))?
        ),
    }
    Ok(())
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
