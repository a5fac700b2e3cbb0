//! The command `convoke`, as functions that return data; the program prints it.
//!
//! | command | what it does |
//! |---|---|
//! | `convoke doctor` | compares NATS and Redis with what nodes need: [`doctor::examine`] |
//! | `convoke dead` | dead letters, to look at, to replay and to drop: [`dead::Desk`] |
//! | `convoke outbox` | messages on their way to the broker: [`outbox::Outbox`] |
//! | `convoke describe` | what a service handles, and where it goes in NATS: [`describe::read`] |

pub mod asyncapi;
pub mod bulk;
pub mod cli;
pub mod dead;
pub mod describe;
pub mod doctor;
mod failure;
pub mod outbox;
mod print;
pub mod settings;

use std::process::ExitCode;

use cli::{Cli, DeadCommand, OutboxCommand, Run};
pub use failure::Failure;
use print::Printer;
use settings::Settings;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All is well: 0.
    Fine,
    /// It found something, or failed: 1.
    Failed,
    /// It was called in a way that cannot work: 2.
    Usage,
    /// It was stopped by Ctrl-C: 130.
    Interrupted,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Fine => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Interrupted => 130,
        })
    }
}

/// Does what the command line says, and prints what came of it.
pub async fn run(cli: Cli) -> Exit {
    let printer = Printer::new(cli.global.output);
    let done = if cli.command.stops_by_itself() {
        perform(&cli, &printer).await
    } else {
        tokio::select! {
            biased; // who waits for the standard input is interrupted as programs are, before a handler is installed
            done = perform(&cli, &printer) => done,
            _ = tokio::signal::ctrl_c() => return Exit::Interrupted,
        }
    };
    done.unwrap_or_else(|failure| {
        printer.failure(&failure);
        failure.exit()
    })
}

async fn perform(cli: &Cli, printer: &Printer) -> Result<Exit, Failure> {
    let settings = Settings::load(&cli.global)?;
    match &cli.command {
        Run::Doctor(flags) => {
            let report = doctor::examine(&settings.confirmed(flags.fsync_confirmed)).await?;
            printer.data(&report, || report.text(printer.colour()));
            Ok(if report.errors == 0 { Exit::Fine } else { Exit::Failed })
        }
        Run::Dead { command } => dead_letters(command, &settings, printer).await,
        Run::Outbox { command } => outbox(command, &settings, printer).await,
        Run::Describe(flags) => {
            let description = describe::read(flags, cli.global.namespace.as_deref()).await?;
            let catalogue = describe::Catalogue::of(description, &settings.nats)?;
            match flags.format {
                describe::Format::Convoke => printer.data(&catalogue, || catalogue.to_string()),
                describe::Format::Asyncapi => printer.json(&asyncapi::document(&catalogue)),
            }
            Ok(Exit::Fine)
        }
    }
}

async fn dead_letters(
    command: &DeadCommand,
    settings: &Settings,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let which = command.which()?; // before anything is connected
    let desk = dead::Desk::open(settings).await?;
    let done = match (command, which) {
        (DeadCommand::List { filter, page }, _) => {
            let letters = desk.list(filter, page).await?;
            printer.data(&letters, || letters.to_string());
            return Ok(Exit::Fine);
        }
        (DeadCommand::Show { number }, _) => {
            let letter = desk.show(*number).await?;
            printer.data(&letter, || letter.to_string());
            return Ok(Exit::Fine);
        }
        (DeadCommand::Replay(flags), which) => dead::replay(&desk, &which, flags).await?,
        (DeadCommand::Drop(flags), which) => dead::discard(&desk, &which, flags).await?,
    };
    printer.data(&done, || done.to_string());
    Ok(done.exit())
}

async fn outbox(command: &OutboxCommand, settings: &Settings, printer: &Printer) -> Result<Exit, Failure> {
    match command {
        OutboxCommand::List(flags) => {
            let page = outbox::Outbox::open(settings, &flags.service).await?.list(flags).await?;
            printer.data(&page, || page.to_string());
            Ok(Exit::Fine)
        }
        OutboxCommand::Retry(flags) => {
            flags.check()?;
            let done = outbox::Outbox::open(settings, &flags.service).await?.retry(flags).await?;
            printer.data(&done, || done.to_string());
            Ok(done.exit())
        }
    }
}
