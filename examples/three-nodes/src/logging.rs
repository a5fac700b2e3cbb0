//! Log lines.
use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::cli::LogFormat;

/// Writes log lines to the standard output.
///
/// # Errors
/// A sentence, when the filter is malformed.
pub fn start(format: LogFormat, filter: &str) -> Result<(), String> {
    let parsed = EnvFilter::try_new(filter).map_err(|error| {
        format!("{filter:?} is no log filter ({error}): write it like `info` or `warn,convoke_cluster=debug`")
    })?;
    let lines = tracing_subscriber::fmt().with_env_filter(parsed).with_target(false);
    match format {
        LogFormat::Text => lines.compact().with_ansi(std::io::stdout().is_terminal()).init(),
        LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).init(),
    }
    Ok(())
}
