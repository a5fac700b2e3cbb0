use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::error::{ServeError, ServeErrorKind};

/// No deadline may be longer: a clock reading plus this still fits.
const DURATION_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The limits of one HTTP server. The defaults suit a service behind nothing.
///
/// In a configuration file durations are written `"300ms"`, `"5s"`, `"2m"` or `"1h"`.
///
/// ```
/// use std::time::Duration;
/// let config = convoke_axum::ServeConfig::default()
///     .header_timeout(Duration::from_secs(2))
///     .connections_max(256);
/// assert_eq!(config.connections_max, 256);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ServeConfig {
    /// How long one request's head, and one TLS handshake, may take. Default: 5 s.
    #[serde(with = "convoke_core::duration")]
    pub header_timeout: Duration,
    /// How long a request's whole body may take from the moment a handler reads it. Default: 10 s.
    #[serde(with = "convoke_core::duration")]
    pub body_timeout: Duration,
    /// How long a handler may take until its response begins; then the answer is 504. Default: 30 s.
    #[serde(with = "convoke_core::duration")]
    pub request_timeout: Duration,
    /// How long a client may take no byte of a response before the connection is closed. Default: 30 s.
    #[serde(with = "convoke_core::duration")]
    pub write_timeout: Duration,
    /// How long a connection may wait for its next request. Default: 60 s.
    #[serde(with = "convoke_core::duration")]
    pub keep_alive_idle: Duration,
    /// How long a shutdown goes on serving before it drains, so that a load balancer sees that readiness dropped
    /// and sends nobody here any more; answers close their connections meanwhile. Longer than the balancer needs
    /// to notice, or zero without one. Default: 0 s.
    #[serde(with = "convoke_core::duration")]
    pub drain_delay: Duration,
    /// How long a shutdown waits for the requests in flight. Default: 10 s.
    #[serde(with = "convoke_core::duration")]
    pub drain_timeout: Duration,
    /// Connections open at once; one more is closed at once. Default: 1024.
    pub connections_max: usize,
    /// Bytes of one request body; a longer one is answered 413. Default: 1 MiB.
    pub body_bytes_max: u64,
    /// Bytes of one request's head; a longer one is answered 431. At least 1024. Default: 16 KiB.
    pub header_bytes_max: usize,
    /// Header lines of one request; more are answered 431. At most 1024. Default: 64.
    pub headers_max: usize,
    /// The files TLS needs; without them the server speaks plain HTTP. Default: none.
    pub tls: Option<TlsConfig>,
}

impl Default for ServeConfig {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(5),
            body_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            keep_alive_idle: Duration::from_secs(60),
            drain_delay: Duration::ZERO,
            drain_timeout: Duration::from_secs(10),
            connections_max: 1024,
            body_bytes_max: 1024 * 1024,
            header_bytes_max: 16 * 1024,
            headers_max: 64,
            tls: None,
        }
    }
}

impl ServeConfig {
    /// Sets how long one request's head, and one TLS handshake, may take.
    #[must_use]
    pub fn header_timeout(mut self, timeout: Duration) -> Self {
        self.header_timeout = timeout;
        self
    }

    /// Sets how long a request's whole body may take.
    #[must_use]
    pub fn body_timeout(mut self, timeout: Duration) -> Self {
        self.body_timeout = timeout;
        self
    }

    /// Sets how long a handler may take until its response begins.
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Sets how long a client may take no byte of a response.
    #[must_use]
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.write_timeout = timeout;
        self
    }

    /// Sets how long a connection may wait for its next request.
    #[must_use]
    pub fn keep_alive_idle(mut self, timeout: Duration) -> Self {
        self.keep_alive_idle = timeout;
        self
    }

    /// Sets how long a shutdown goes on serving before it drains.
    #[must_use]
    pub fn drain_delay(mut self, delay: Duration) -> Self {
        self.drain_delay = delay;
        self
    }

    /// Sets how long a shutdown waits for the requests in flight.
    #[must_use]
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.drain_timeout = timeout;
        self
    }

    /// Sets how many connections may be open at once.
    #[must_use]
    pub fn connections_max(mut self, max: usize) -> Self {
        self.connections_max = max;
        self
    }

    /// Sets how many bytes one request body may have.
    #[must_use]
    pub fn body_bytes_max(mut self, max: u64) -> Self {
        self.body_bytes_max = max;
        self
    }

    /// Sets how many bytes one request's head may have.
    #[must_use]
    pub fn header_bytes_max(mut self, max: usize) -> Self {
        self.header_bytes_max = max;
        self
    }

    /// Sets how many header lines one request may have.
    #[must_use]
    pub fn headers_max(mut self, max: usize) -> Self {
        self.headers_max = max;
        self
    }

    /// Serves TLS with these files.
    #[must_use]
    pub fn tls(mut self, tls: TlsConfig) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Refuses what would serve nobody, or could not be added to a clock.
    pub(super) fn check(&self) -> Result<(), ServeError> {
        let refuse = |text: String| Err(ServeError::new(ServeErrorKind::Config, text));
        let durations = [
            ("header_timeout", self.header_timeout),
            ("body_timeout", self.body_timeout),
            ("request_timeout", self.request_timeout),
            ("write_timeout", self.write_timeout),
            ("keep_alive_idle", self.keep_alive_idle),
        ];
        if let Some((name, _)) = durations.iter().find(|(_, value)| value.is_zero()) {
            return refuse(format!("{name} must be longer than zero"));
        }
        let may_be_zero = [("drain_delay", self.drain_delay), ("drain_timeout", self.drain_timeout)];
        let all = durations.into_iter().chain(may_be_zero);
        if let Some((name, _)) = all.into_iter().find(|(_, value)| *value > DURATION_MAX) {
            return refuse(format!("{name} must be at most one year"));
        }
        let connections_limit = tokio::sync::Semaphore::MAX_PERMITS;
        if !(1..=connections_limit).contains(&self.connections_max) {
            return refuse(format!("connections_max must be from 1 to {connections_limit}"));
        }
        if !(1024..=1024 * 1024).contains(&self.header_bytes_max) {
            return refuse("header_bytes_max must be from 1024 to 1048576".to_owned());
        }
        if !(1..=1024).contains(&self.headers_max) {
            return refuse("headers_max must be from 1 to 1024".to_owned());
        }
        Ok(())
    }
}

/// The PEM files of a TLS server.
///
/// ```
/// let tls = convoke_axum::TlsConfig::new("node.crt", "node.key").client_ca("clients.crt");
/// assert!(tls.client_ca_path.is_some());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct TlsConfig {
    /// The certificate chain, the server's own certificate first.
    pub cert_path: PathBuf,
    /// The private key of the first certificate.
    pub key_path: PathBuf,
    /// The authorities whose client certificates are asked for and demanded. Default: none.
    #[serde(default)]
    pub client_ca_path: Option<PathBuf>,
}

impl TlsConfig {
    /// A server with this certificate chain and private key that asks clients for no certificate.
    pub fn new(cert_path: impl Into<PathBuf>, key_path: impl Into<PathBuf>) -> Self {
        Self { cert_path: cert_path.into(), key_path: key_path.into(), client_ca_path: None }
    }

    /// Refuses clients without a certificate from one of these authorities.
    #[must_use]
    pub fn client_ca(mut self, path: impl Into<PathBuf>) -> Self {
        self.client_ca_path = Some(path.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_refused(config: ServeConfig, text: &str) {
        assert_eq!(config.check().expect_err("the value is useless").to_string(), text);
    }

    #[test]
    fn the_defaults_pass_the_check() {
        ServeConfig::default().check().expect("the defaults are sound");
    }

    #[test]
    fn a_useless_limit_is_refused_by_name() {
        let config = ServeConfig::default();
        check_refused(
            config.clone().header_timeout(Duration::ZERO),
            "header_timeout must be longer than zero",
        );
        check_refused(config.clone().drain_timeout(Duration::MAX), "drain_timeout must be at most one year");
        check_refused(config.clone().headers_max(0), "headers_max must be from 1 to 1024");
        check_refused(config.clone().header_bytes_max(10), "header_bytes_max must be from 1024 to 1048576");
        assert!(config.connections_max(0).check().is_err());
    }

    #[test]
    fn a_file_writes_durations_with_a_unit_and_unknown_names_are_refused() {
        let config: ServeConfig =
            serde_json::from_str(r#"{"header_timeout": "300ms", "keep_alive_idle": "2m", "headers_max": 7}"#)
                .expect("all three are known");
        let expected = ServeConfig::default()
            .header_timeout(Duration::from_millis(300))
            .keep_alive_idle(Duration::from_secs(120))
            .headers_max(7);
        assert_eq!(config, expected);
        assert!(serde_json::from_str::<ServeConfig>(r#"{"header_timout": "1s"}"#).is_err());
    }
}
