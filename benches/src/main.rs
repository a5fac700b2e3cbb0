//! Convoke beside what one would write without it, in interleaved rounds. See `benches/README.md`.

mod catga;
mod failover;
mod fan_out;
mod local;
mod message;
mod place;
mod requests;
mod rounds;
mod table;

use std::{process::ExitCode, time::Duration};

use clap::{Args, Parser, Subcommand};
use tracing_subscriber::filter::LevelFilter;

use place::Flavor;

/// What may go wrong while setting up.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Measures Convoke beside raw clients and peers: rounds that alternate, medians and ratios.
#[derive(Debug, Parser)]
#[command(name = "convoke-benches")]
struct Cli {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// Everything, in a few minutes.
    Quick(Plan),
    /// Request and reply over NATS, at 1 and 64 in flight, beside async-nats.
    Requests {
        #[command(flatten)]
        plan: Plan,
        /// The runtime of each of the two nodes.
        #[arg(long, value_enum, default_value_t = Flavor::MultiThread)]
        flavor: Flavor,
        /// Requests in flight.
        #[arg(long, default_values_t = [1, 64])]
        in_flight: Vec<usize>,
    },
    /// `send` within the process, beside a direct boxed call and catga-core.
    Local(Plan),
    /// Events to three nodes over NATS, beside durable pull consumers of async-nats.
    FanOut(Plan),
    /// How long nobody can write when the leader of a cluster is killed, and when it hands over.
    Failover(failover::Runs),
    /// A node of a cluster that is measured.
    #[command(hide = true)]
    Member(failover::member::Place),
}

/// How long to measure.
#[derive(Debug, Clone, Copy, Args)]
struct Plan {
    /// Rounds; in each, every side is measured once.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Seconds per side and round.
    #[arg(long, default_value_t = 2.0, value_parser = seconds)]
    seconds: f64,
    /// End with exit code 1 when a goal is missed.
    #[arg(long)]
    strict: bool,
}

impl Plan {
    fn time(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.05..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("between 0.05 and 3600 seconds".to_owned()),
    }
}

fn main() -> ExitCode {
    let bench = Cli::parse().bench;
    // A node that warns while it is measured is not measured at its work. Members warn of each one that is killed.
    let level = if matches!(bench, Bench::Member(_)) { LevelFilter::ERROR } else { LevelFilter::WARN };
    tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).init();
    let (strict, outcome) = match bench {
        Bench::Quick(plan) => (plan.strict, quick(&plan)),
        Bench::Requests { plan, flavor, in_flight } => {
            (plan.strict, requests::run(&plan, flavor, &in_flight))
        }
        Bench::Local(plan) => (plan.strict, local::run(&plan)),
        Bench::FanOut(plan) => (plan.strict, fan_out::run(&plan)),
        Bench::Failover(runs) => (true, failover::run(&runs)),
        Bench::Member(place) => (true, failover::member::run(&place)),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(u8::from(strict)),
        Err(error) => {
            eprintln!("the measurement could not be made: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every goal was reached. The goals of requests are those of the runtime that `#[tokio::main]` makes.
fn quick(plan: &Plan) -> Result<bool, BoxError> {
    let local = local::run(plan)?;
    let requests = requests::run(plan, Flavor::MultiThread, &[1, 64])?;
    requests::run(plan, Flavor::CurrentThread, &[64])?;
    Ok(fan_out::run(plan)? & requests & local)
}
