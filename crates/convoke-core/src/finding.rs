use std::fmt;

use serde::Serialize;

/// One thing that a look at a server found: how it is, how it should be, and what to do.
///
/// As text it is one sentence for the person who runs the service.
///
/// ```
/// use convoke_core::{Finding, Severity};
///
/// let finding = Finding::warning("redis", "maxmemory-policy is allkeys-lru")
///     .expected("noeviction")
///     .remedy("claims may be evicted and commands run twice");
/// assert_eq!(finding.severity, Severity::Warning);
/// assert_eq!(
///     finding.to_string(),
///     "redis: maxmemory-policy is allkeys-lru, expected is noeviction: claims may be evicted and commands run twice"
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What was looked at, such as `nats`, `stream CONVOKE_EVENTS` or `redis`.
    pub about: String,
    /// How it is.
    pub found: String,
    /// How it should be. Empty when it is so.
    pub expected: String,
    /// What to do about it, and what happens otherwise. Empty when nothing is to be done.
    pub remedy: String,
}

/// How bad a [`Finding`] is. The worst is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It is as it should be.
    Fine,
    /// A node starts, and says so in one log line.
    Warning,
    /// A node does not start.
    Error,
}

impl Severity {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl Finding {
    /// A finding of any severity.
    #[must_use]
    pub fn new(severity: Severity, about: impl Into<String>, found: impl Into<String>) -> Self {
        let (about, found) = (about.into(), found.into());
        Self { severity, about, found, expected: String::new(), remedy: String::new() }
    }

    /// Something that is as it should be.
    #[must_use]
    pub fn fine(about: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(Severity::Fine, about, found)
    }

    /// Something that should be otherwise.
    #[must_use]
    pub fn warning(about: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(Severity::Warning, about, found)
    }

    /// Something a node cannot work with.
    #[must_use]
    pub fn error(about: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(Severity::Error, about, found)
    }

    /// Sets how it should be.
    #[must_use]
    pub fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = expected.into();
        self
    }

    /// Sets what to do about it.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }

    /// The one sentence that ends a start, when one of these is an error.
    #[must_use]
    pub fn refusal(findings: &[Self]) -> Option<String> {
        let errors: Vec<_> = findings.iter().filter(|finding| finding.is_error()).collect();
        match *errors {
            [] => None,
            [only] => Some(only.to_string()),
            [first, ..] => {
                Some(format!("{first} (and {} more: `convoke doctor` lists them)", errors.len() - 1))
            }
        }
    }

    /// Whether a node must not start like this.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.about, self.found)?;
        if !self.expected.is_empty() {
            write!(f, ", expected is {}", self.expected)?;
        }
        if !self.remedy.is_empty() {
            write!(f, ": {}", self.remedy)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_severity_is_the_greatest() {
        assert!(Severity::Error > Severity::Warning && Severity::Warning > Severity::Fine);
    }

    #[test]
    fn errors_alone_end_a_start_and_the_first_one_is_told() {
        let warning = Finding::warning("redis", "slow");
        assert_eq!(Finding::refusal(&[warning.clone(), Finding::fine("redis", "there")]), None);
        let findings = [warning, Finding::error("redis", "old"), Finding::error("redis", "evicts")];
        assert_eq!(Finding::refusal(&findings[..2]).as_deref(), Some("redis: old"));
        let all = Finding::refusal(&findings).expect("two errors");
        assert!(all.starts_with("redis: old (and 1 more"), "{all}");
    }

    #[test]
    fn what_is_fine_says_how_it_is_and_nothing_else() {
        let finding = Finding::fine("nats", "version 2.15.1");
        assert!(!finding.is_error());
        assert_eq!(finding.to_string(), "nats: version 2.15.1");
    }
}
