use std::time::Duration;

use serde::Deserialize;
use tokio::sync::Semaphore;

use crate::{Error, names};

/// How the stores use NATS. Equal on all nodes of a namespace: a bucket that differs is never changed.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct StoresConfig {
    /// Whose buckets these are: `<NAMESPACE>_CLAIMS` and `<NAMESPACE>_MARKS`. Default: `convoke`.
    pub namespace: String,
    /// How long one operation may take, with all its attempts. Default: 3 s.
    #[serde(with = "convoke_core::duration")]
    pub timeout: Duration,
    /// Writes on their way to the server that it has not confirmed. At least 1. Default: 256.
    pub window: usize,
    /// Size of the bucket of claims; when it is full, commands are refused until records expire. Default: 1 GiB.
    pub claims_bytes_max: u64,
    /// Size of the bucket of marks. Default: 256 MiB.
    pub marks_bytes_max: u64,
}

impl Default for StoresConfig {
    fn default() -> Self {
        Self {
            namespace: "convoke".to_owned(),
            timeout: Duration::from_secs(3),
            window: 256,
            claims_bytes_max: 1024 * 1024 * 1024,
            marks_bytes_max: 256 * 1024 * 1024,
        }
    }
}

impl StoresConfig {
    /// The defaults, for the buckets of a namespace.
    pub fn new(namespace: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), ..Self::default() }
    }
    /// Sets [`timeout`](Self::timeout).
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
    /// Sets [`window`](Self::window).
    #[must_use]
    pub fn window(mut self, window: usize) -> Self {
        self.window = window;
        self
    }
    /// Sets [`claims_bytes_max`](Self::claims_bytes_max).
    #[must_use]
    pub fn claims_bytes_max(mut self, bytes: u64) -> Self {
        self.claims_bytes_max = bytes;
        self
    }
    /// Sets [`marks_bytes_max`](Self::marks_bytes_max).
    #[must_use]
    pub fn marks_bytes_max(mut self, bytes: u64) -> Self {
        self.marks_bytes_max = bytes;
        self
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        let bytes = |bytes: u64| i64::try_from(bytes).is_ok_and(|bytes| bytes > 0);
        let rules = [
            ("namespace", names::is_word(&self.namespace), "1 to 64 letters, digits, `-` and `_`"),
            ("timeout", !self.timeout.is_zero(), "longer than nothing"),
            ("window", (1..=Semaphore::MAX_PERMITS).contains(&self.window), "at least 1"),
            ("claims_bytes_max", bytes(self.claims_bytes_max), "at least 1"),
            ("marks_bytes_max", bytes(self.marks_bytes_max), "at least 1"),
        ];
        match rules.iter().find(|(_, holds, _)| !holds) {
            None => Ok(()),
            Some((name, _, rule)) => {
                Err(Error::config(format!("`{name}` of the stores cannot be used with NATS: it is {rule}")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_named() {
        type Break = fn(&mut StoresConfig);
        let bad: [(&str, Break); 5] = [
            ("namespace", |c| c.namespace = "a.b".into()),
            ("timeout", |c| c.timeout = Duration::ZERO),
            ("window", |c| c.window = 0),
            ("claims_bytes_max", |c| c.claims_bytes_max = 0),
            ("marks_bytes_max", |c| c.marks_bytes_max = u64::MAX),
        ];
        // `Transport::stores` relies on it
        assert!(StoresConfig::default().check().is_ok());
        for (name, spoil) in bad {
            let mut config = StoresConfig::default();
            spoil(&mut config);
            let text = config.check().expect_err("it cannot work").to_string();
            assert!(text.contains(name), "{text}");
        }
    }
}
