//! Compares NATS and Redis with what nodes need.
use std::fmt::Write as _;

use convoke_core::{Finding, Profile, Severity};
use serde::Serialize;

use crate::{Failure, print::wrapped, settings::Settings};

/// A terminal of the usual width.
const WIDTH: usize = 80;

/// What was found, the broker's findings before the store's.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// By which profile it was judged.
    pub profile: Profile,
    /// The namespace that was looked at.
    pub namespace: String,
    /// How many findings are errors: with one, no node starts.
    pub errors: usize,
    /// How many are warnings.
    pub warnings: usize,
    /// Everything that was looked at, also what is fine.
    pub findings: Vec<Finding>,
}

/// Looks at NATS, and at Redis where it is used. A server that is away is a finding.
///
/// # Errors
/// When it was asked for something that cannot work.
pub async fn examine(settings: &Settings) -> Result<Report, Failure> {
    let redis = async {
        match &settings.redis {
            Some(config) => found("redis", convoke_redis::check(config).await.map_err(Failure::from)),
            None => Ok(Vec::new()),
        }
    };
    let (nats, redis) = tokio::join!(convoke_nats::check(&settings.nats, &settings.stores), redis);
    let mut findings = found("nats", nats.map_err(Failure::from))?;
    findings.extend(redis?);
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    Ok(Report {
        profile: settings.profile,
        namespace: settings.namespace.clone(),
        errors,
        warnings,
        findings,
    })
}

fn found(about: &str, checked: Result<Vec<Finding>, Failure>) -> Result<Vec<Finding>, Failure> {
    match checked {
        Err(failure) if failure.exit() == crate::Exit::Failed => {
            Ok(vec![Finding::error(about, failure.to_string())])
        }
        other => other,
    }
}

impl Report {
    /// For people.
    #[must_use]
    pub fn text(&self, colour: bool) -> String {
        let mut text = format!("namespace {}, profile {}\n", self.namespace, self.profile);
        let mut last = "";
        for finding in &self.findings {
            let (heading, which) = place(&finding.about);
            if heading != last {
                last = heading;
                let _ = writeln!(text, "\n{heading}");
            }
            write_finding(&mut text, which, finding, colour);
        }
        let fine = self.findings.len() - self.errors - self.warnings;
        let _ = write!(
            text,
            "\n{}, {}, {fine} fine",
            counted(self.errors, "error"),
            counted(self.warnings, "warning")
        );
        text
    }
}

/// Streams stand together, and so do consumers.
fn place(about: &str) -> (&str, &str) {
    match about.split_once(' ') {
        Some(("stream", name)) => ("streams", name),
        Some(("consumer" | "consumers", name)) => ("consumers", name.strip_prefix("of ").unwrap_or(name)),
        _ => (about, ""),
    }
}

fn write_finding(text: &mut String, which: &str, finding: &Finding, colour: bool) {
    const MARGIN: usize = 11;
    let (word, code) = match finding.severity {
        Severity::Fine => ("fine", 32),
        Severity::Warning => ("warning", 33),
        Severity::Error => ("error", 31),
    };
    let padded = format!("{word:<7}");
    let padded = if colour { format!("\u{1b}[{code}m{padded}\u{1b}[0m") } else { padded };
    let found = if which.is_empty() { finding.found.clone() } else { format!("{which}: {}", finding.found) };
    let _ = writeln!(text, "  {padded}  {}", wrapped(&found, MARGIN, WIDTH));
    for (label, content) in [("expected: ", &finding.expected), ("to do: ", &finding.remedy)] {
        if !content.is_empty() {
            let _ = writeln!(text, "{:MARGIN$}{}", "", wrapped(&format!("{label}{content}"), MARGIN, WIDTH));
        }
    }
}

fn counted(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(findings: Vec<Finding>) -> Report {
        Report { profile: Profile::Ha, namespace: "eu".into(), errors: 1, warnings: 0, findings }
    }

    #[test]
    fn a_report_fits_a_terminal_and_says_what_to_do() {
        let findings = vec![
            Finding::fine("nats", "version 2.15.1"),
            Finding::error("nats", "JetStream is off")
                .expected("on")
                .remedy("start the server with `-js`, ".repeat(6)),
            Finding::fine("stream EU_EVENTS", "as declared"),
            Finding::fine("consumers of EU_EVENTS", "2 consumers"),
            Finding::fine("redis", "version 7.0.15"),
        ];
        let text = report(findings).text(false);
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        let expected = "namespace eu, profile ha\n\nnats\n  fine     version 2.15.1\n  error    JetStream is off\n           \
             expected: on\n           to do: start the server";
        assert!(text.starts_with(expected), "{text}");
        let streams =
            "\nstreams\n  fine     EU_EVENTS: as declared\n\nconsumers\n  fine     EU_EVENTS: 2 consumers\n";
        assert!(text.contains(streams), "{text}");
        let end = "\nredis\n  fine     version 7.0.15\n\n1 error, 0 warnings, 4 fine";
        assert!(text.ends_with(end), "{text}");
    }

    #[test]
    fn colours_are_there_when_they_are_wanted() {
        let findings = vec![Finding::error("nats", "JetStream is off")];
        assert!(report(findings.clone()).text(true).contains("\u{1b}[31merror  \u{1b}[0m"));
        assert!(!report(findings).text(false).contains('\u{1b}'));
    }
}
