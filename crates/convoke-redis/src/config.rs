#[cfg(test)]
mod noise;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::Error;
use convoke_core::{Profile, duration};

/// How the stores reach Redis, and where they keep things there.
///
/// ```
/// use std::time::Duration;
///
/// let config = convoke_redis::Config::new("rediss://orders:secret@redis.internal:6380")
///     .tls_ca("/etc/convoke/ca.pem")
///     .command_timeout(Duration::from_secs(2));
/// assert!(!format!("{config:?}").contains("secret"));
/// ```
#[derive(Clone, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// `redis://[user:password@]host[:port][/database]`, or `rediss://` for TLS. Several URLs of one cluster are
    /// separated by commas. Default: `redis://127.0.0.1:6379`.
    pub url: String,
    /// Whether the server is a Redis Cluster. Implied by several URLs. Default: false.
    pub cluster: bool,
    /// What the server must survive, which decides what the start check refuses. Default: `fast`.
    pub profile: Profile,
    /// Says that the server runs with `appendfsync always`, where it does not let us look. Default: false.
    pub fsync_confirmed: bool,
    /// What every key begins with. Letters, digits, `.`, `-`, `_` and `:`. Default: `convoke`.
    pub key_prefix: String,
    /// Over how many hash slots the keys are spread, 1 to 1024. All nodes must agree, for good. Default: 64.
    pub partitions: u16,
    /// How long a call may take, with its repeats. Default: 1 s.
    #[serde(deserialize_with = "duration::deserialize")]
    pub command_timeout: Duration,
    /// How long one attempt of a call that may be repeated takes. Default: 500 ms.
    #[serde(deserialize_with = "duration::deserialize")]
    pub attempt_timeout: Duration,
    /// How long connecting may take, with TLS and authentication. Default: 1 s.
    #[serde(deserialize_with = "duration::deserialize")]
    pub connect_timeout: Duration,
    /// After how many attempts in a row without an answer a new connection is made; 0 for never. Default: 3.
    pub watchdog_timeouts: u32,
    /// How often somebody who waits for an outcome looks himself, in case a wake-up got lost. Default: 250 ms.
    #[serde(deserialize_with = "duration::deserialize")]
    pub poll_interval: Duration,
    /// How long a claim without an outcome is remembered after its lease. Default: 24 h.
    #[serde(deserialize_with = "duration::deserialize")]
    pub abandoned_retention: Duration,
    /// The certificate authority the server's certificate is checked against, as a PEM file. Default: public ones.
    pub tls_ca: Option<PathBuf>,
    /// Our own certificate, as a PEM file.
    pub tls_cert: Option<PathBuf>,
    /// The private key of `tls_cert`, as a PEM file.
    pub tls_key: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            url: "redis://127.0.0.1:6379".into(),
            cluster: false,
            profile: Profile::default(),
            fsync_confirmed: false,
            key_prefix: "convoke".into(),
            partitions: 64,
            command_timeout: Duration::from_secs(1),
            attempt_timeout: Duration::from_millis(500),
            connect_timeout: Duration::from_secs(1),
            watchdog_timeouts: 3,
            poll_interval: Duration::from_millis(250),
            abandoned_retention: Duration::from_secs(24 * 60 * 60),
            tls_ca: None,
            tls_cert: None,
            tls_key: None,
        }
    }
}

/// Most partitions that make sense: each is one hash slot and one fence counter.
const PARTITIONS_MAX: u16 = 1024;
const KEY_PREFIX_BYTES_MAX: usize = 64;

impl Config {
    /// The defaults, with a server.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }

    /// Says that the server is a Redis Cluster.
    #[must_use]
    pub fn cluster(mut self) -> Self {
        self.cluster = true;
        self
    }

    /// Sets what the server must survive.
    #[must_use]
    pub fn profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// Says that the server runs with `appendfsync always`, where it does not let us look.
    #[must_use]
    pub fn fsync_confirmed(mut self) -> Self {
        self.fsync_confirmed = true;
        self
    }

    /// Sets what every key begins with.
    #[must_use]
    pub fn key_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.key_prefix = prefix.into();
        self
    }

    /// Sets over how many hash slots the keys are spread.
    #[must_use]
    pub fn partitions(mut self, partitions: u16) -> Self {
        self.partitions = partitions;
        self
    }

    /// Sets how long a call may take, with its repeats.
    #[must_use]
    pub fn command_timeout(mut self, timeout: Duration) -> Self {
        self.command_timeout = timeout;
        self
    }

    /// Sets how long one attempt of a call may take.
    #[must_use]
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = timeout;
        self
    }

    /// Sets how long connecting may take.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets after how many attempts in a row without an answer a new connection is made; 0 for never.
    #[must_use]
    pub fn watchdog_timeouts(mut self, timeouts: u32) -> Self {
        self.watchdog_timeouts = timeouts;
        self
    }

    /// Sets how often somebody who waits for an outcome looks himself.
    #[must_use]
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval;
        self
    }

    /// Sets how long a claim without an outcome is remembered after its lease.
    #[must_use]
    pub fn abandoned_retention(mut self, retention: Duration) -> Self {
        self.abandoned_retention = retention;
        self
    }

    /// Sets the certificate authority of the server.
    #[must_use]
    pub fn tls_ca(mut self, pem: impl Into<PathBuf>) -> Self {
        self.tls_ca = Some(pem.into());
        self
    }

    /// Sets our own certificate and its private key.
    #[must_use]
    pub fn tls_client(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.tls_cert = Some(certificate.into());
        self.tls_key = Some(key.into());
        self
    }

    /// What can be said without a server. Addresses and files are looked at where they are used.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        let wrong = |what: String| Err(Error::invalid(format!("redis: {what}")));
        let spelled = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
        let prefix = &self.key_prefix;
        if prefix.is_empty() || prefix.len() > KEY_PREFIX_BYTES_MAX || !prefix.bytes().all(spelled) {
            return wrong(format!(
                "key_prefix must be 1 to {KEY_PREFIX_BYTES_MAX} letters, digits, '.', '-', '_' or ':', not {prefix:?}"
            ));
        }
        if !(1..=PARTITIONS_MAX).contains(&self.partitions) {
            return wrong(format!("partitions must be 1 to {PARTITIONS_MAX}, not {}", self.partitions));
        }
        for (name, value) in [
            ("command_timeout", self.command_timeout),
            ("attempt_timeout", self.attempt_timeout),
            ("connect_timeout", self.connect_timeout),
            ("poll_interval", self.poll_interval),
            ("abandoned_retention", self.abandoned_retention),
        ] {
            if value < Duration::from_millis(1) {
                return wrong(format!("{name} must be at least 1 ms"));
            }
        }
        if self.tls_cert.is_some() != self.tls_key.is_some() {
            return wrong("tls_cert and tls_key are needed together".into());
        }
        Ok(())
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may hold a password.
        f.debug_struct("Config")
            .field("cluster", &self.cluster)
            .field("profile", &self.profile)
            .field("key_prefix", &self.key_prefix)
            .field("partitions", &self.partitions)
            .field("command_timeout", &self.command_timeout)
            .field("attempt_timeout", &self.attempt_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("watchdog_timeouts", &self.watchdog_timeouts)
            .field("tls_ca", &self.tls_ca)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize as _;
    use serde::de::value::MapDeserializer;

    use super::*;

    #[track_caller]
    fn check(config: Config, expected: &str) {
        let error = config.validate().expect_err("it is wrong");
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(error.kind(), crate::ErrorKind::Invalid);
    }

    fn from_text(fields: &[(&'static str, &'static str)]) -> Result<Config, serde::de::value::Error> {
        Config::deserialize(MapDeserializer::new(fields.iter().copied()))
    }

    #[test]
    fn a_file_names_what_differs_from_the_defaults() {
        let config = from_text(&[("url", "redis://r:1"), ("command_timeout", "250ms")]).expect("it is fine");
        assert_eq!((&*config.url, config.command_timeout), ("redis://r:1", Duration::from_millis(250)));
        assert_eq!(config.partitions, 64);
        for wrong in [("command_timeout", "soon"), ("comand_timeout", "1s")] {
            let error = from_text(&[wrong]).expect_err("it is wrong").to_string();
            assert!(error.contains(wrong.1) || error.contains(wrong.0), "{error}");
        }
    }

    #[test]
    fn what_is_wrong_without_a_server_is_told() {
        Config::default().validate().expect("the defaults are fine");
        check(Config::default().key_prefix(""), "key_prefix");
        check(Config::default().key_prefix("a{b}"), "key_prefix");
        check(Config::default().key_prefix("p".repeat(65)), "key_prefix");
        check(Config::default().partitions(0), "partitions");
        check(Config::default().partitions(1025), "partitions");
        check(Config::default().command_timeout(Duration::ZERO), "command_timeout");
        check(Config { tls_cert: Some("c.pem".into()), ..Config::default() }, "tls_key");
    }
}
