//! The command line.
use std::{num::NonZeroU32, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use convoke_core::{LETTER_PAGE_MAX, LetterFilter, Profile, duration};

use crate::{Failure, dead::Which, describe::Format};

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
    /// Dead letters: messages that no handler could handle.
    Dead {
        /// What to do with them.
        #[command(subcommand)]
        command: DeadCommand,
    },
    /// Outboxes in Redis: messages on their way to the broker.
    Outbox {
        /// What to do with them.
        #[command(subcommand)]
        command: OutboxCommand,
    },
}

/// What to do with the outbox of a service.
#[derive(Debug, Subcommand)]
pub enum OutboxCommand {
    /// Counts them, and lists those that were put aside because the broker will never take them as they are.
    List(OutboxList),
    /// Lets messages that were put aside wait for the broker again, behind those that wait already.
    Retry(OutboxRetry),
}

/// Which messages of an outbox.
#[derive(Debug, Clone, Args)]
pub struct OutboxList {
    /// The service whose outbox it is.
    #[arg(long, value_name = "NAME")]
    pub service: String,
    /// Those that wait for the broker, instead of those that were put aside.
    #[arg(long)]
    pub waiting: bool,
    /// At most so many, up to 1000.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = limit)]
    pub limit: usize,
    /// Behind this place, as the page before said.
    #[arg(long, value_name = "PLACE")]
    pub after: Option<String>,
}

/// Which messages are to be tried again.
#[derive(Debug, Clone, Default, Args)]
pub struct OutboxRetry {
    /// Their places, as `list` tells them. Without one, all that were put aside, and then `--yes`.
    pub places: Vec<String>,
    /// The service whose outbox it is.
    #[arg(long, value_name = "NAME")]
    pub service: String,
    /// Counts them, and does nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// At most so many in a second.
    #[arg(long, value_name = "N")]
    pub rate: Option<NonZeroU32>,
    /// Really all that were put aside.
    #[arg(long)]
    pub yes: bool,
}

impl OutboxRetry {
    /// # Errors
    /// When it is about all of them, and nobody said `--yes`.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.yes || self.dry_run || !self.places.is_empty() {
            return Ok(());
        }
        Err(Failure::usage(
            "this would be all messages that were put aside: give places, or say --yes; --dry-run counts them",
        ))
    }
}

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub enum DeadCommand {
    /// Lists them, oldest first.
    List {
        /// Which ones.
        #[command(flatten)]
        filter: DeadFilter,
        /// How many.
        #[command(flatten)]
        page: ListFlags,
    },
    /// Shows one with everything that is kept: content, headers, errors.
    Show {
        /// Its number, as `list` tells it.
        number: u64,
    },
    /// Hands them to the handler that gave them up, and to nobody else. It waits for a node that is away.
    Replay(BulkFlags),
    /// Takes them away for good.
    Drop(BulkFlags),
}

impl Run {
    /// A long run stops between two of its steps, and says what was done.
    pub(crate) fn stops_by_itself(&self) -> bool {
        matches!(
            self,
            Self::Dead { command: DeadCommand::Replay(_) | DeadCommand::Drop(_) }
                | Self::Outbox { command: OutboxCommand::Retry(_) }
        )
    }
}

impl DeadCommand {
    /// What a bulk command is done to; all letters for the others.
    pub(crate) fn which(&self) -> Result<Which, Failure> {
        match self {
            Self::Replay(flags) | Self::Drop(flags) => flags.which(),
            Self::List { .. } | Self::Show { .. } => Ok(Which::Matching(LetterFilter::all())),
        }
    }
}

/// Which dead letters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct DeadFilter {
    /// Of this service.
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,
    /// Of this wire name, such as orders.placed.v1.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Of this handler, such as Orders::place.
    #[arg(long, value_name = "HANDLER")]
    pub handler: Option<String>,
    /// Of this node.
    #[arg(long, value_name = "ID")]
    pub node: Option<String>,
    /// Buried at least so long ago: 90s, 30m, 12h, 7d.
    #[arg(long, value_name = "AGE", value_parser = age)]
    pub older_than: Option<Duration>,
    /// Buried at most so long ago.
    #[arg(long, value_name = "AGE", value_parser = age)]
    pub younger_than: Option<Duration>,
}

/// A part of a list.
#[derive(Debug, Clone, Args)]
pub struct ListFlags {
    /// At most so many, up to 1000.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = limit)]
    pub limit: usize,
    /// Behind this number, as the page before said.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub after: u64,
}

/// To many dead letters at once.
#[derive(Debug, Clone, Default, Args)]
pub struct BulkFlags {
    /// Their numbers, as `list` tells them. Without one, all that match the filters, and with none of these `--yes`.
    pub numbers: Vec<u64>,
    /// Which ones.
    #[command(flatten)]
    pub filter: DeadFilter,
    /// Counts them, and does nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// At most so many in a second.
    #[arg(long, value_name = "N")]
    pub rate: Option<NonZeroU32>,
    /// Really all of the namespace, when there is neither a number nor a filter.
    #[arg(long)]
    pub yes: bool,
}

fn age(text: &str) -> Result<Duration, String> {
    duration::parse(text).ok_or_else(|| "write it like 90s, 30m, 12h or 7d".to_owned())
}

fn limit(text: &str) -> Result<usize, String> {
    let fits = |limit: &usize| (1..=LETTER_PAGE_MAX).contains(limit);
    text.parse().ok().filter(fits).ok_or_else(|| format!("it is 1 to {LETTER_PAGE_MAX}"))
}

impl DeadFilter {
    pub(crate) fn letters(&self) -> LetterFilter {
        let mut filter = LetterFilter::all();
        filter.service.clone_from(&self.service);
        filter.name.clone_from(&self.name);
        filter.handler.clone_from(&self.handler);
        filter.node.clone_from(&self.node);
        (filter.older_than, filter.younger_than) = (self.older_than, self.younger_than);
        filter
    }
}

impl BulkFlags {
    /// What it is done to.
    ///
    /// # Errors
    /// When both numbers and filters are there, and when there are none of both and nobody said `--yes`.
    pub fn which(&self) -> Result<Which, Failure> {
        let filtered = self.filter != DeadFilter::default();
        match (&*self.numbers, filtered) {
            ([], false) if !self.yes && !self.dry_run => Err(Failure::usage(
                "this would be all dead letters of the namespace: give numbers or filters, or say --yes; --dry-run \
                 counts them",
            )),
            ([], _) => Ok(Which::Matching(self.filter.letters())),
            (numbers, false) => Ok(Which::Numbers(numbers.to_vec())),
            (_, true) => Err(Failure::usage("give numbers or filters, not both")),
        }
    }
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
