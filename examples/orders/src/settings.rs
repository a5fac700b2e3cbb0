//! How one node is set up: defaults, then the file, then the environment, then the flags.
use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use convoke::Profile;
use figment::{
    Figment,
    providers::{Format, Serialized, Toml},
    value::Value,
};
use serde::{Deserialize, Serialize, Serializer};

use crate::cli::NodeFlags;

/// Everything a node is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where HTTP is served.
    pub listen: String,
    /// The node's id, stable over restarts. Default: the machine's name.
    pub node: Option<String>,
    /// What the node is for.
    pub role: Role,
    /// What NATS and Redis must survive: `fast`, `ha` or `strict`.
    pub profile: Profile,
    /// Environment or tenant: nodes of one namespace know each other. Equal on all nodes.
    pub namespace: String,
    /// Where effects are reported, when somebody counts them.
    pub effects_url: Option<String>,
    /// The messages' way.
    pub nats: NatsSettings,
    /// The store, when it is Redis.
    pub redis: RedisSettings,
    /// HTTP.
    pub http: HttpSettings,
    /// The cluster, when the node belongs to one.
    pub cluster: ClusterSettings,
}

/// What a node is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Handles messages and answers over HTTP.
    #[default]
    Api,
    /// Handles messages; over HTTP it tells its health alone.
    Worker,
}

/// NATS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NatsSettings {
    /// One address or several with commas between them. It may hold `user:password@`.
    pub url: Secret,
    /// A file with a JWT and its seed.
    pub creds: Option<PathBuf>,
    /// A user, with a password.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// Whose certificates are trusted; with it, a server without TLS is refused.
    pub ca: Option<PathBuf>,
    /// Copies of what NATS keeps: 1, 3 or 5. Default: as the profile wants.
    pub replicas: Option<usize>,
    /// Says that every server runs with `sync_interval: always`.
    pub fsync_confirmed: bool,
}

/// Redis.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisSettings {
    /// Its address. Without one, NATS keeps everything.
    pub url: Option<Secret>,
    /// Whose certificates are trusted. Default: public ones.
    pub ca: Option<PathBuf>,
    /// Says that it runs with `appendfsync always`, where it does not let us look.
    pub fsync_confirmed: bool,
}

/// HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpSettings {
    /// The certificate chain, as a PEM file.
    pub tls_cert: Option<PathBuf>,
    /// Its private key, as a PEM file.
    pub tls_key: Option<PathBuf>,
    /// The token callers need.
    pub bearer_token: Option<Secret>,
    /// A file with such tokens, one on each line.
    pub bearer_token_file: Option<PathBuf>,
    /// Requests per second and client.
    pub rate_limit: Option<u32>,
    /// How long a node that was told to stop goes on serving while `/readyz` says so: longer than a load balancer
    /// takes to notice.
    #[serde(deserialize_with = "convoke::duration::deserialize", serialize_with = "in_milliseconds")]
    pub drain_delay: Duration,
}

/// The cluster: who leads, and what it keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClusterSettings {
    /// Whether the node belongs to one.
    pub enabled: bool,
    /// Where other nodes talk about who leads. Default: as the peers say, or 1000 above the port of HTTP.
    pub raft_port: Option<u16>,
    /// All nodes, this one too: `NAME=HOST:RAFT_PORT:HTTP_PORT`, with commas between them. Default: `node0`, `node1`
    /// and `node2` on this machine.
    pub peers: Option<String>,
    /// Where the log lies, in a folder of the node's name.
    pub state: PathBuf,
    /// How fast a lost leader is noticed: `lan-fast`, `default` or `wan`. Slower is steadier on busy machines.
    pub preset: String,
    /// What all nodes know and nobody else. Needed when they are not all on one machine.
    pub secret: Option<Secret>,
    /// Whether NATS carries the messages. Otherwise nodes forward to the leader over HTTP, and the cluster keeps the
    /// orders.
    pub nats: bool,
}

/// A text that logs do not show.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:5001".to_owned(),
            node: None,
            role: Role::default(),
            profile: Profile::default(),
            namespace: "convoke".to_owned(),
            effects_url: None,
            nats: NatsSettings::default(),
            redis: RedisSettings::default(),
            http: HttpSettings::default(),
            cluster: ClusterSettings::default(),
        }
    }
}

impl Default for ClusterSettings {
    fn default() -> Self {
        let (raft_port, peers, secret) = (None, None, None);
        let (state, preset) = ("raft-state".into(), "default".to_owned());
        Self { enabled: false, raft_port, peers, state, preset, secret, nats: false }
    }
}

impl Default for NatsSettings {
    fn default() -> Self {
        let url = Secret("nats://127.0.0.1:4222".to_owned());
        let (creds, user, password, ca) = (None, None, None, None);
        Self { url, creds, user, password, ca, replicas: None, fsync_confirmed: false }
    }
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            tls_cert: None,
            tls_key: None,
            bearer_token: None,
            bearer_token_file: None,
            rate_limit: None,
            drain_delay: Duration::from_secs(1),
        }
    }
}

fn in_milliseconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{}ms", duration.as_millis()))
}

impl Settings {
    /// Defaults, overridden by the file, overridden by the flags; a flag that was not given has its environment
    /// variable's value.
    ///
    /// # Errors
    /// A sentence that names the key and the file.
    pub fn load(flags: &NodeFlags) -> Result<Self, String> {
        let (text, source) = match &flags.config {
            Some(file) => (read(file, "configuration file")?, file.display().to_string()),
            None => (String::new(), String::new()),
        };
        Self::from_toml(&text, &source, flags.overrides())
    }

    /// Defaults, overridden by a file's text, overridden by values by their keys.
    ///
    /// # Errors
    /// A sentence that names the key and the file, by its name `source`.
    pub fn from_toml(
        text: &str,
        source: &str,
        overrides: impl IntoIterator<Item = (&'static str, Value)>,
    ) -> Result<Self, String> {
        let mut figment = Figment::from(Serialized::defaults(Self::default())).merge(Toml::string(text));
        for (key, value) in overrides {
            figment = figment.merge(Serialized::global(key, value));
        }
        let source = if source.is_empty() { String::new() } else { format!(" {source}") };
        figment.extract().map_err(|error| {
            let problems: Vec<_> = error.into_iter().map(|error| problem(&error)).collect();
            format!("the configuration{source} cannot be used: {}", problems.join("; "))
        })
    }

    /// The tokens callers may use; none when everybody may come in.
    ///
    /// # Errors
    /// A sentence, when the file cannot be read.
    pub fn bearer_tokens(&self) -> Result<Vec<String>, String> {
        let mut tokens: Vec<_> = self.http.bearer_token.iter().map(|token| token.0.clone()).collect();
        if let Some(file) = &self.http.bearer_token_file {
            let text = read(file, "bearer token file")?;
            let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
            if lines.is_empty() {
                return Err(format!("the bearer token file {} holds no token", file.display()));
            }
            tokens.extend(lines.into_iter().map(str::to_owned));
        }
        Ok(tokens)
    }
}

/// What is wrong, with the whole key.
fn problem(error: &figment::Error) -> String {
    use figment::error::Kind;
    let path = error.path.join(".");
    match &error.kind {
        Kind::UnknownField(_, known) => {
            format!("there is no key `{path}` (known here: {})", known.join(", "))
        }
        kind if path.is_empty() => kind.to_string(),
        kind => format!("`{path}`: {kind}"),
    }
}

fn read(file: &Path, what: &str) -> Result<String, String> {
    std::fs::read_to_string(file)
        .map_err(|error| format!("the {what} {} cannot be read: {error}", file.display()))
}
