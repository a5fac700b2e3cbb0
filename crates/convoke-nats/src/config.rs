mod auth;
mod check;
#[cfg(test)]
mod noise;

use std::{fmt, time::Duration};

use convoke_core::Profile;
use serde::Deserialize;

pub use auth::{Auth, Tls};

/// How a node talks to NATS.
///
/// ```
/// use std::time::Duration;
///
/// let config = convoke_nats::Config::new("nats://127.0.0.1:4222")
///     .auth(convoke_nats::Auth::Token("secret".into()))
///     .ping_interval(Duration::from_secs(2));
/// assert!(!format!("{config:?}").contains("secret"));
/// ```
#[derive(Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Where the servers are; any of them will do. Default: `nats://127.0.0.1:4222`.
    pub urls: Vec<String>,
    /// Who we are. Default: nobody.
    pub auth: Auth,
    /// How the connection is protected. Default: as the server asks.
    pub tls: Tls,
    /// How often the server is asked whether it is there. A dead link is noticed after three. Default: 5 s.
    #[serde(with = "convoke_core::duration")]
    pub ping_interval: Duration,
    /// Longest pause between two attempts to connect; each is shortened at random. Default: 2 s.
    #[serde(with = "convoke_core::duration")]
    pub reconnect_delay_max: Duration,
    /// First token of the subjects that answers come to, for permissions. Default: `_INBOX`.
    pub inbox_prefix: String,
    /// What the servers must survive: it sets how many copies there are, and what the start check refuses.
    /// Default: `fast`.
    pub profile: Profile,
    /// Copies of each stream: 1, 3 or 5. Not fewer than the profile's, which are the default.
    pub replicas: Option<usize>,
    /// Says that every server runs with `sync_interval: always`, which no client can see. The profile `strict` wants
    /// it said. Default: false.
    pub fsync_confirmed: bool,
    /// The stream of events.
    pub events: Events,
    /// The streams of enqueued commands.
    pub jobs: Jobs,
    /// The stream of dead letters.
    pub dead: Dead,
    /// Events and enqueued commands on their way to the server that it has not confirmed. At least 1. Default: 256.
    pub publish_window: usize,
    /// How long a node may be down before the server forgets where it stopped. Default: 7 days.
    #[serde(with = "convoke_core::duration")]
    pub inactive_threshold: Duration,
    /// How long a node may be silent about an event before another one gets it. Default: 30 s.
    #[serde(with = "convoke_core::duration")]
    pub ack_wait: Duration,
    /// How often a message is delivered before it counts as one that ends each node that takes it, and becomes a dead
    /// letter. Deliveries that were handed back count, and are spread over minutes. At least 2. Default: 30.
    pub deliveries_max: u32,
}

/// The stream of events. Equal on all nodes: a stream that differs is never changed.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Events {
    /// How long an event is kept. Default: 7 days.
    #[serde(with = "convoke_core::duration")]
    pub max_age: Duration,
    /// Size of the stream; the oldest events make room. Default: 1 GiB.
    pub stream_bytes_max: u64,
    /// Size of one event. Default: 1 MiB.
    pub event_bytes_max: u32,
    /// For how long an event that is published again is recognised. Default: 2 min.
    #[serde(with = "convoke_core::duration")]
    pub duplicate_window: Duration,
}

/// The streams of enqueued commands: of those that wait for a node, and of those that wait for their time. What
/// they have no room for is refused; nothing in them is dropped.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Jobs {
    /// Commands that may wait for a node. Default: 1,000,000.
    pub waiting_max: u64,
    /// Commands that may wait for their time. Counted before each is stored, so that several at once may exceed
    /// it a little. Default: 100,000.
    pub scheduled_max: u64,
    /// Size of each of the two streams. Default: 512 MiB.
    pub stream_bytes_max: u64,
    /// Size of one command. Default: 1 MiB.
    pub job_bytes_max: u32,
    /// For how long a command that is enqueued again is recognised. Default: 2 min.
    #[serde(with = "convoke_core::duration")]
    pub duplicate_window: Duration,
}

/// The stream of dead letters.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Dead {
    /// How long a dead letter is kept. Default: 30 days.
    #[serde(with = "convoke_core::duration")]
    pub max_age: Duration,
    /// Size of the stream; the oldest letters make room. Default: 256 MiB.
    pub stream_bytes_max: u64,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Default for Config {
    fn default() -> Self {
        Self {
            urls: vec!["nats://127.0.0.1:4222".to_owned()],
            auth: Auth::None,
            tls: Tls::default(),
            ping_interval: Duration::from_secs(5),
            reconnect_delay_max: Duration::from_secs(2),
            inbox_prefix: "_INBOX".to_owned(),
            profile: Profile::default(),
            replicas: None,
            fsync_confirmed: false,
            events: Events::default(),
            jobs: Jobs::default(),
            dead: Dead::default(),
            publish_window: 256,
            inactive_threshold: 7 * DAY,
            ack_wait: Duration::from_secs(30),
            deliveries_max: 30,
        }
    }
}

impl Default for Events {
    fn default() -> Self {
        Self {
            max_age: 7 * DAY,
            stream_bytes_max: 1024 * 1024 * 1024,
            event_bytes_max: 1024 * 1024,
            duplicate_window: Duration::from_secs(120),
        }
    }
}

impl Default for Jobs {
    fn default() -> Self {
        Self {
            waiting_max: 1_000_000,
            scheduled_max: 100_000,
            stream_bytes_max: 512 * 1024 * 1024,
            job_bytes_max: 1024 * 1024,
            duplicate_window: Duration::from_secs(120),
        }
    }
}

impl Default for Dead {
    fn default() -> Self {
        Self { max_age: 30 * DAY, stream_bytes_max: 256 * 1024 * 1024 }
    }
}

impl Config {
    /// The defaults, for one server or several with commas between them.
    pub fn new(urls: impl AsRef<str>) -> Self {
        let urls = urls.as_ref().split(',').map(|url| url.trim().to_owned()).collect();
        Self { urls, ..Self::default() }
    }
    /// Sets [`auth`](Self::auth).
    pub fn auth(mut self, auth: Auth) -> Self {
        self.auth = auth;
        self
    }
    /// Sets [`tls`](Self::tls).
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }
    /// Sets [`ping_interval`](Self::ping_interval).
    pub fn ping_interval(mut self, interval: Duration) -> Self {
        self.ping_interval = interval;
        self
    }
    /// Sets [`reconnect_delay_max`](Self::reconnect_delay_max).
    pub fn reconnect_delay_max(mut self, delay: Duration) -> Self {
        self.reconnect_delay_max = delay;
        self
    }
    /// Sets [`inbox_prefix`](Self::inbox_prefix).
    pub fn inbox_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.inbox_prefix = prefix.into();
        self
    }
    /// Sets [`replicas`](Self::replicas).
    pub fn replicas(mut self, replicas: usize) -> Self {
        self.replicas = Some(replicas);
        self
    }
    /// Sets [`profile`](Self::profile).
    pub fn profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }
    /// Says that every server runs with `sync_interval: always`.
    pub fn fsync_confirmed(mut self) -> Self {
        self.fsync_confirmed = true;
        self
    }
    /// How many copies of each stream are declared: as set, or as the profile wants.
    pub fn copies(&self) -> usize {
        self.replicas.unwrap_or_else(|| self.profile.replicas())
    }
    /// Changes [`events`](Self::events).
    pub fn events(mut self, change: impl FnOnce(&mut Events)) -> Self {
        change(&mut self.events);
        self
    }
    /// Changes [`jobs`](Self::jobs).
    pub fn jobs(mut self, change: impl FnOnce(&mut Jobs)) -> Self {
        change(&mut self.jobs);
        self
    }
    /// Changes [`dead`](Self::dead).
    pub fn dead(mut self, change: impl FnOnce(&mut Dead)) -> Self {
        change(&mut self.dead);
        self
    }
    /// Sets [`publish_window`](Self::publish_window).
    pub fn publish_window(mut self, window: usize) -> Self {
        self.publish_window = window;
        self
    }
    /// Sets [`inactive_threshold`](Self::inactive_threshold).
    pub fn inactive_threshold(mut self, threshold: Duration) -> Self {
        self.inactive_threshold = threshold;
        self
    }
    /// Sets [`ack_wait`](Self::ack_wait).
    pub fn ack_wait(mut self, wait: Duration) -> Self {
        self.ack_wait = wait;
        self
    }
    /// Sets [`deliveries_max`](Self::deliveries_max).
    pub fn deliveries_max(mut self, deliveries: u32) -> Self {
        self.deliveries_max = deliveries;
        self
    }
    /// The servers, without user names and passwords.
    pub(crate) fn servers(&self) -> String {
        self.urls.iter().map(|url| without_userinfo(url)).collect::<Vec<_>>().join(", ")
    }
}

/// An address may hold a password or a token before its `@`.
fn without_userinfo(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    if scheme.is_empty() { host.to_owned() } else { format!("{scheme}://{host}") }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("urls", &self.servers())
            .field("auth", &self.auth)
            .field("tls", &self.tls)
            .field("ping_interval", &self.ping_interval)
            .field("reconnect_delay_max", &self.reconnect_delay_max)
            .field("inbox_prefix", &self.inbox_prefix)
            .field("profile", &self.profile)
            .field("replicas", &self.replicas)
            .field("fsync_confirmed", &self.fsync_confirmed)
            .field("events", &self.events)
            .field("jobs", &self.jobs)
            .field("dead", &self.dead)
            .field("publish_window", &self.publish_window)
            .field("inactive_threshold", &self.inactive_threshold)
            .field("ack_wait", &self.ack_wait)
            .field("deliveries_max", &self.deliveries_max)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_names_what_differs_and_unknown_words_are_refused() {
        let json =
            r#"{"urls":["nats://a:4222"],"auth":{"token":"t"},"ack_wait":"2m","events":{"max_age":"1d"}}"#;
        let config: Config = serde_json::from_str(json).expect("a configuration");
        assert_eq!(config.ack_wait, Duration::from_secs(120));
        assert_eq!(config.events.max_age, DAY);
        assert_eq!(config.ping_interval, Duration::from_secs(5));
        assert!(serde_json::from_str::<Config>(r#"{"akc_wait":"2m"}"#).is_err());
    }

    #[test]
    fn secrets_are_not_shown() {
        let config = Config::new("nats://bob:hunter2@a:4222,tls://tok@b")
            .auth(Auth::UserPassword { user: "bob".into(), password: "hunter2".into() });
        let shown = format!("{config:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("tok@"), "{shown}");
        assert_eq!(config.servers(), "nats://a:4222, tls://b");
    }
}
