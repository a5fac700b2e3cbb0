//! The command line.
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use convoke_core::Profile;

use crate::describe::Format;

/// Looks at a Convoke system, and repairs it.
///
/// Ends with 0 when all is well, 1 when it found something or failed, 2 when it was called wrongly.
#[derive(Debug, Parser)]
#[command(name = "convoke", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Run,
    /// Where, and how it is told.
    #[command(flatten)]
    pub global: Global,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Run {
    /// Compares NATS and Redis with what nodes need. Changes nothing.
    ///
    /// Nodes make the same check at their start: an error ends it, a warning is one line in the log.
    Doctor(DoctorFlags),
    /// Tells what a service handles, and its subjects, streams and consumers. Needs no server.
    ///
    /// The service's own program says what it handles: `orders describe --output json | convoke describe`, or
    /// `convoke describe --run orders`.
    Describe(DescribeFlags),
}

/// Where NATS and Redis are, and how results look.
#[derive(Debug, Clone, Default, Args)]
pub struct Global {
    /// A TOML file with `namespace`, `profile` and the tables `nats`, `stores` and `redis` as the nodes have them.
    #[arg(long, global = true, value_name = "FILE", env = "CONVOKE_CONFIG")]
    pub config: Option<PathBuf>,
    /// The NATS servers, with commas between them. [default: nats://127.0.0.1:4222]
    #[arg(long, global = true, value_name = "URL", env = "NATS_URL", hide_env_values = true)]
    pub nats: Option<String>,
    /// A credentials file for NATS: a JWT and its seed.
    #[arg(long, global = true, value_name = "FILE", env = "CONVOKE_NATS_CREDS")]
    pub nats_creds: Option<PathBuf>,
    /// The user at NATS.
    #[arg(long, global = true, value_name = "NAME", env = "CONVOKE_NATS_USER")]
    pub nats_user: Option<String>,
    /// The user's password; better given by its environment variable.
    #[arg(
        long,
        global = true,
        value_name = "PASSWORD",
        env = "CONVOKE_NATS_PASSWORD",
        hide_env_values = true
    )]
    pub nats_password: Option<String>,
    /// Trusts NATS servers with certificates of this authority (PEM), and refuses those without TLS.
    #[arg(long, global = true, value_name = "FILE", env = "CONVOKE_NATS_CA")]
    pub nats_ca: Option<PathBuf>,
    /// Redis, where the nodes use it.
    #[arg(long, global = true, value_name = "URL", env = "REDIS_URL", hide_env_values = true)]
    pub redis: Option<String>,
    /// Trusts a Redis server with a certificate of this authority (PEM).
    #[arg(long, global = true, value_name = "FILE", env = "CONVOKE_REDIS_CA")]
    pub redis_ca: Option<PathBuf>,
    /// Environment or tenant. [default: convoke]
    #[arg(long, global = true, value_name = "NAME", env = "CONVOKE_NAMESPACE")]
    pub namespace: Option<String>,
    /// What the servers must survive. [default: fast]
    #[arg(long, global = true, value_name = "fast|ha|strict", env = "CONVOKE_PROFILE")]
    pub profile: Option<Profile>,
    /// How results look.
    #[arg(long, global = true, value_enum, default_value_t, env = "CONVOKE_OUTPUT")]
    pub output: Output,
}

/// How results look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs: one JSON value.
    Json,
}

/// What the check takes for given.
#[derive(Debug, Clone, Default, Args)]
pub struct DoctorFlags {
    /// Says that every server writes to disk before it confirms, where a client cannot see it.
    #[arg(long)]
    pub fsync_confirmed: bool,
}

/// Whose description, and in which format.
#[derive(Debug, Clone, Default, Args)]
pub struct DescribeFlags {
    /// A file with what a service said of itself, as JSON; `-` is the standard input, and the default.
    #[arg(value_name = "FILE", conflicts_with = "run")]
    pub file: Option<PathBuf>,
    /// A service's program, which is asked by `describe --output json` unless other arguments follow it. Comes last.
    #[arg(long, value_name = "PROGRAM", num_args = 1.., allow_hyphen_values = true)]
    pub run: Vec<String>,
    /// The format. AsyncAPI 3 is JSON whatever `--output` says; payloads have no schemas in it.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}
