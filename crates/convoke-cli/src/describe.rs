//! What a service handles, and where that goes in NATS.
use std::{
    fmt,
    io::{IsTerminal as _, Read as _},
    path::Path,
    process::Stdio,
    time::Duration,
};

use clap::ValueEnum;
use convoke_core::Description;
use convoke_nats::Layout;
use serde::Serialize;
use tokio::{io::AsyncReadExt as _, process::Command, time::timeout};

use crate::{Failure, cli::DescribeFlags};

/// The largest description that is read.
pub const DESCRIPTION_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How long a service's program may take to describe itself.
const PROGRAM_WAIT: Duration = Duration::from_secs(10);

/// How a description is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// Handlers, subjects, streams and consumers; as a table or as JSON.
    #[default]
    Convoke,
    /// AsyncAPI 3, as JSON.
    Asyncapi,
}

/// A service, with its place in NATS.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Catalogue {
    /// What the service says of itself.
    #[serde(flatten)]
    pub description: Description,
    /// Where it goes in NATS.
    pub nats: Layout,
}

/// What a service said of itself: in a file, on the standard input, or when its program is asked. A namespace that is
/// given replaces its own.
///
/// # Errors
/// When there is none, or it is no description.
pub async fn read(flags: &DescribeFlags, namespace: Option<&str>) -> Result<Description, Failure> {
    let (json, source) = match (&*flags.run, &flags.file) {
        ([program, arguments @ ..], _) => (ask(program, arguments).await?, program.clone()),
        ([], Some(path)) if path != Path::new("-") => (read_file(path)?, path.display().to_string()),
        _ => (read_input()?, "the standard input".to_owned()),
    };
    let mut description = parse(&json, &source)?;
    if let Some(namespace) = namespace {
        namespace.clone_into(&mut description.namespace);
    }
    Ok(description)
}

fn parse(json: &[u8], source: &str) -> Result<Description, Failure> {
    let description: Description = serde_json::from_slice(json).map_err(|error| {
        Failure::failed(format!(
            "{source} is no description of a service ({error}): print one with `App::describe`, as `orders describe \
             --output json` does"
        ))
    })?;
    if description.format > Description::FORMAT {
        return Err(Failure::failed(format!(
            "{source} describes a service in the format {}, and this program knows {}: update it",
            description.format,
            Description::FORMAT
        )));
    }
    Ok(description)
}

fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    let refused = |error| Failure::failed(format!("{} cannot be read: {error}", path.display()));
    let file = std::fs::File::open(path).map_err(refused)?;
    let mut bytes = Vec::new();
    file.take(DESCRIPTION_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(refused)?;
    bounded(bytes, &path.display().to_string())
}

fn read_input() -> Result<Vec<u8>, Failure> {
    let none = || {
        Failure::usage(
            "there is no description: give a file, `--run PROGRAM`, or pipe `PROGRAM describe --output json` in",
        )
    };
    if std::io::stdin().is_terminal() {
        return Err(none());
    }
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().take(DESCRIPTION_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| Failure::failed(format!("the standard input cannot be read: {error}")))?;
    if bytes.is_empty() {
        return Err(none());
    }
    bounded(bytes, "the standard input")
}

fn bounded(bytes: Vec<u8>, source: &str) -> Result<Vec<u8>, Failure> {
    let fits = u64::try_from(bytes.len()).is_ok_and(|length| length <= DESCRIPTION_BYTES_MAX);
    if fits {
        return Ok(bytes);
    }
    Err(Failure::failed(format!(
        "{source} has more than {DESCRIPTION_BYTES_MAX} bytes: this is no description"
    )))
}

/// Runs a service's program and takes what it prints.
async fn ask(program: &str, arguments: &[String]) -> Result<Vec<u8>, Failure> {
    let mut command = Command::new(program);
    if arguments.is_empty() {
        command.args(["describe", "--output", "json"]);
    } else {
        command.args(arguments);
    }
    let failed = |why: String| Failure::failed(format!("{program} does not describe itself: {why}"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| failed(format!("it cannot be run: {error}")))?;
    let mut said = child.stdout.take().expect("it is piped above").take(DESCRIPTION_BYTES_MAX + 1);
    let mut bytes = Vec::new();
    let ended = timeout(PROGRAM_WAIT, async {
        said.read_to_end(&mut bytes).await?;
        drop(said); // a program that says more than it may ends instead of waiting for us
        child.wait().await
    });
    let status = match ended.await {
        Ok(status) => status.map_err(|error| failed(error.to_string()))?,
        Err(_) => return Err(failed(format!("it did not end within {} s", PROGRAM_WAIT.as_secs()))),
    };
    let bytes = bounded(bytes, program)?;
    if status.success() { Ok(bytes) } else { Err(failed(format!("it ended with {status}"))) }
}

impl Catalogue {
    /// Places a service in NATS servers that are used like this.
    ///
    /// # Errors
    /// When a name cannot be used with NATS.
    pub fn of(description: Description, config: &convoke_nats::Config) -> Result<Self, Failure> {
        let nats = convoke_nats::layout(&description, config)?;
        Ok(Self { description, nats })
    }
}

impl fmt::Display for Catalogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Layout { subjects, streams, consumers, .. } = &self.nats;
        write!(f, "{}\n\nsubjects", self.description)?;
        let rows = subjects.iter().map(|one| {
            let to = match (&one.queue_group, &one.stream) {
                (Some(group), _) => format!("queue group {group}"),
                (None, Some(stream)) => format!("stream {stream}"),
                (None, None) => String::new(),
            };
            [one.subject.clone(), to, String::new()]
        });
        table(f, rows.collect())?;
        f.write_str("\n\nstreams")?;
        let rows = streams.iter().map(|one| {
            let size = one.bytes_max.map_or_else(|| "no limit".to_owned(), bytes);
            let age = one.age_seconds_max.map_or_else(|| "until handled".to_owned(), age);
            [one.name.clone(), listed(&one.subjects), format!("{age}, {size}")]
        });
        table(f, rows.collect())?;
        f.write_str("\n\nconsumers")?;
        let rows =
            consumers.iter().map(|one| [one.name.clone(), one.stream.clone(), counted(one.subjects.len())]);
        table(f, rows.collect())
    }
}

/// As long as a line has room for them; JSON has all.
fn listed(subjects: &[String]) -> String {
    if subjects.len() > 2 { counted(subjects.len()) } else { subjects.join(", ") }
}

fn counted(subjects: usize) -> String {
    if subjects == 1 { "1 subject".to_owned() } else { format!("{subjects} subjects") }
}

fn table(f: &mut fmt::Formatter<'_>, rows: Vec<[String; 3]>) -> fmt::Result {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (first, second) = (width(0), width(1));
    rows.iter().try_for_each(|[a, b, c]| {
        let row = format!("  {a:<first$}  {b:<second$}  {c}");
        write!(f, "\n{}", row.trim_end())
    })
}

fn bytes(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = UNITS.iter().find(|(size, _)| bytes >= *size && bytes.is_multiple_of(*size));
    unit.map_or_else(|| format!("{bytes} bytes"), |(size, name)| format!("{} {name}", bytes / size))
}

fn age(seconds: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(86400, "days"), (3600, "h"), (60, "min")];
    let unit = UNITS.iter().find(|(size, _)| seconds >= *size && seconds.is_multiple_of(*size));
    unit.map_or_else(|| format!("{seconds} s"), |(size, name)| format!("{} {name}", seconds / size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_ages_are_written_in_whole_units() {
        assert_eq!([bytes(1 << 30), bytes(1536), bytes(3 << 20)], ["1 GiB", "1536 bytes", "3 MiB"]);
        assert_eq!([age(604_800), age(5400), age(59)], ["7 days", "90 min", "59 s"]);
    }

    #[test]
    fn a_description_of_a_later_format_is_refused() {
        let later = br#"{"format": 2, "service": "s", "namespace": "n", "handlers": []}"#;
        assert!(parse(later, "x").expect_err("a later one").to_string().contains("update it"));
        assert!(parse(b"{}", "x").expect_err("none").to_string().contains("x is no description"));
    }

    #[test]
    fn a_description_has_a_largest_size() {
        let most = usize::try_from(DESCRIPTION_BYTES_MAX).expect("it fits");
        assert!(bounded(vec![b' '; most], "x").is_ok());
        assert!(bounded(vec![b' '; most + 1], "x").is_err());
    }
}
