//! The command line.
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use convoke::Profile;
use figment::value::Value;

use crate::settings::Role;

/// A distributed order system: commands run on one node, events reach all, queries are answered by any.
///
/// Without a command, three nodes run in this process, with nothing else installed.
#[derive(Debug, Parser)]
#[command(name = "orders", version, propagate_version = true)]
pub struct Cli {
    /// What to run. Default: `demo`.
    #[command(subcommand)]
    pub command: Option<Run>,
    /// Without a command: runs one of three nodes on this machine that form a cluster, as `orders node --cluster`.
    #[command(flatten)]
    pub seed: ClusterNodeFlags,
    /// How log lines look.
    #[arg(long, global = true, value_enum, default_value_t, env = "ORDERS_LOG_FORMAT")]
    pub log_format: LogFormat,
    /// Which log lines are written, such as `info` or `warn,orders=debug`.
    #[arg(
        long,
        global = true,
        default_value = "info,async_nats=warn,openraft=error",
        env = "ORDERS_LOG",
        value_name = "FILTER"
    )]
    pub log: String,
}

/// What to run.
#[derive(Debug, Subcommand)]
pub enum Run {
    /// Runs three nodes in this process, with nothing else installed.
    Demo(DemoFlags),
    /// Runs one node of many, on NATS and, if given, Redis.
    ///
    /// Each setting comes from its flag, else from its environment variable, else from the configuration file, else
    /// it is the default.
    Node(Box<NodeFlags>),
    /// Tells what the service handles. Connects to nothing.
    Describe(DescribeFlags),
}

/// One node of a cluster on this machine, in short.
#[derive(Debug, Clone, Default, Args)]
pub struct ClusterNodeFlags {
    /// Runs one node of a cluster of three on this machine: node0, node1 and node2, on ports that count up.
    #[arg(long, requires = "port", requires = "node_id")]
    pub cluster: bool,
    /// Where HTTP is served on 127.0.0.1; the nodes talk about who leads 1000 above it.
    #[arg(long, value_name = "PORT", requires = "cluster", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// The node's id: node0, node1 or node2.
    #[arg(long, value_name = "ID", requires = "cluster")]
    pub node_id: Option<String>,
    /// How fast a lost leader is noticed; slower is steadier on busy machines. [default: default]
    #[arg(long, value_name = "lan-fast|default|wan", env = "ORDERS_CLUSTER_PRESET")]
    pub cluster_preset: Option<String>,
}

impl ClusterNodeFlags {
    /// The same as the flags of `orders node`. `None` when they were not given.
    #[must_use]
    pub fn node(&self) -> Option<NodeFlags> {
        let port = self.port.filter(|_| self.cluster)?;
        let (node, listen) = (self.node_id.clone(), Some(format!("127.0.0.1:{port}")));
        let cluster_preset = self.cluster_preset.clone();
        Some(NodeFlags { cluster: true, node, listen, cluster_preset, ..NodeFlags::default() })
    }
}

/// How the service is described.
#[derive(Debug, Clone, Args)]
pub struct DescribeFlags {
    /// For people, or for programs such as `convoke describe`.
    #[arg(long, value_enum, default_value_t, env = "ORDERS_OUTPUT")]
    pub output: Output,
    /// Environment or tenant.
    #[arg(long, value_name = "NAME", default_value = "convoke", env = "ORDERS_NAMESPACE")]
    pub namespace: String,
}

/// How results look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Three nodes in one process.
#[derive(Debug, Clone, Args)]
pub struct DemoFlags {
    /// HTTP is served on this port of 127.0.0.1 and the two after it; 0 takes free ones.
    #[arg(long, default_value_t = 5001, env = "ORDERS_PORT", value_parser = clap::value_parser!(u16).range(..=65533))]
    pub port: u16,
}

impl Default for DemoFlags {
    fn default() -> Self {
        Self { port: 5001 }
    }
}

/// One node of many. What is not given is in the file, or has its default.
#[derive(Debug, Clone, Default, Args)]
pub struct NodeFlags {
    /// A TOML file with settings; the README lists its keys.
    #[arg(long, value_name = "FILE", env = "ORDERS_CONFIG")]
    pub config: Option<PathBuf>,
    /// Where HTTP is served. [default: 127.0.0.1:5001]
    #[arg(long, value_name = "ADDRESS", env = "ORDERS_LISTEN")]
    pub listen: Option<String>,
    /// The node's id, stable over restarts: what it missed waits under it. [default: the machine's name]
    #[arg(long, value_name = "ID", env = "ORDERS_NODE")]
    pub node: Option<String>,
    /// What the node is for. [default: api]
    #[arg(long, value_enum, env = "ORDERS_ROLE")]
    pub role: Option<Role>,
    /// What NATS and Redis must survive; three copies from `ha` on. [default: fast]
    #[arg(long, value_name = "fast|ha|strict", env = "ORDERS_PROFILE")]
    pub profile: Option<Profile>,
    /// Environment or tenant, equal on all nodes: those of another one are not seen. [default: convoke]
    #[arg(long, value_name = "NAME", env = "ORDERS_NAMESPACE")]
    pub namespace: Option<String>,
    /// The NATS servers, with commas between them. [default: nats://127.0.0.1:4222]
    #[arg(long, value_name = "URL", env = "NATS_URL", hide_env_values = true)]
    pub nats: Option<String>,
    /// A credentials file for NATS: a JWT and its seed.
    #[arg(long, value_name = "FILE", env = "ORDERS_NATS_CREDS")]
    pub nats_creds: Option<PathBuf>,
    /// The user at NATS.
    #[arg(long, value_name = "NAME", env = "ORDERS_NATS_USER")]
    pub nats_user: Option<String>,
    /// The user's password; better given by its environment variable.
    #[arg(long, value_name = "PASSWORD", env = "ORDERS_NATS_PASSWORD", hide_env_values = true)]
    pub nats_password: Option<String>,
    /// Trusts NATS servers with certificates of this authority (PEM), and refuses those without TLS.
    #[arg(long, value_name = "FILE", env = "ORDERS_NATS_CA")]
    pub nats_ca: Option<PathBuf>,
    /// Copies of what NATS keeps: 1, 3 or 5. [default: as the profile wants]
    #[arg(long, value_name = "N", env = "ORDERS_NATS_REPLICAS")]
    pub nats_replicas: Option<usize>,
    /// Redis, which then keeps orders and who did what; without it NATS does.
    #[arg(long, value_name = "URL", env = "REDIS_URL", hide_env_values = true)]
    pub redis: Option<String>,
    /// Trusts a Redis server with a certificate of this authority (PEM).
    #[arg(long, value_name = "FILE", env = "ORDERS_REDIS_CA")]
    pub redis_ca: Option<PathBuf>,
    /// Serves HTTPS with this certificate chain (PEM).
    #[arg(long, value_name = "FILE", env = "ORDERS_TLS_CERT")]
    pub tls_cert: Option<PathBuf>,
    /// The private key of the certificate (PEM).
    #[arg(long, value_name = "FILE", env = "ORDERS_TLS_KEY")]
    pub tls_key: Option<PathBuf>,
    /// Demands this bearer token of callers; better given by its environment variable.
    #[arg(long, value_name = "TOKEN", env = "ORDERS_BEARER_TOKEN", hide_env_values = true)]
    pub bearer_token: Option<String>,
    /// Demands one of the bearer tokens in this file, one on each line.
    #[arg(long, value_name = "FILE", env = "ORDERS_BEARER_TOKEN_FILE")]
    pub bearer_token_file: Option<PathBuf>,
    /// Lets each client make so many requests per second.
    #[arg(long, value_name = "N", env = "ORDERS_RATE_LIMIT")]
    pub rate_limit: Option<u32>,
    /// Goes on serving for so long after it was told to stop, while /readyz says so to load balancers. [default: 1s]
    #[arg(long, value_name = "DURATION", env = "ORDERS_DRAIN_DELAY")]
    pub drain_delay: Option<String>,
    /// Belongs to a cluster: one node leads, gives out shipping numbers and reports. With --nats that carries the
    /// messages; without it nodes ask the leader over HTTP, and the cluster keeps the orders.
    #[arg(long, env = "ORDERS_CLUSTER")]
    pub cluster: bool,
    /// Where the other nodes of the cluster talk to this one. [default: as the peers say]
    #[arg(long, value_name = "PORT", env = "ORDERS_RAFT_PORT")]
    pub raft_port: Option<u16>,
    /// All nodes of the cluster, this one too, with commas between them. [default: node0, node1 and node2 here]
    #[arg(long, value_name = "NAME=HOST:RAFT_PORT:HTTP_PORT,..", env = "ORDERS_PEERS")]
    pub peers: Option<String>,
    /// Where the cluster's log lies, in a folder of the node's name. [default: raft-state]
    #[arg(long, value_name = "DIR", env = "ORDERS_RAFT_STATE")]
    pub raft_state: Option<PathBuf>,
    /// How fast a lost leader is noticed; slower is steadier on busy machines. [default: default]
    #[arg(long, value_name = "lan-fast|default|wan", env = "ORDERS_CLUSTER_PRESET")]
    pub cluster_preset: Option<String>,
    /// What all nodes of the cluster know and nobody else; better given by its environment variable.
    #[arg(long, value_name = "SECRET", env = "ORDERS_CLUSTER_SECRET", hide_env_values = true)]
    pub cluster_secret: Option<String>,
    /// Reports each effect by `POST <URL>/effect?kind=..&id=..&node=..`.
    #[arg(long, value_name = "URL", env = "ORDERS_EFFECTS_URL")]
    pub effects_url: Option<String>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines: one object per line.
    Json,
}

impl NodeFlags {
    /// What was given, by its key in the configuration file.
    pub fn overrides(&self) -> impl Iterator<Item = (&'static str, Value)> {
        let text = |text: &Option<String>| text.clone().map(Value::from);
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| Value::from(path.display().to_string()));
        let role = self.role.map(|role| Value::from(role.name()));
        [
            ("listen", text(&self.listen)),
            ("node", text(&self.node)),
            ("role", role),
            ("profile", self.profile.map(|profile| Value::from(profile.word()))),
            ("namespace", text(&self.namespace)),
            ("effects_url", text(&self.effects_url)),
            ("nats.url", text(&self.nats)),
            ("cluster.nats", (self.cluster && self.nats.is_some()).then(|| Value::from(true))),
            ("cluster.enabled", self.cluster.then(|| Value::from(true))),
            ("cluster.raft_port", self.raft_port.map(Value::from)),
            ("cluster.peers", text(&self.peers)),
            ("cluster.state", path(&self.raft_state)),
            ("cluster.preset", text(&self.cluster_preset)),
            ("cluster.secret", text(&self.cluster_secret)),
            ("nats.creds", path(&self.nats_creds)),
            ("nats.user", text(&self.nats_user)),
            ("nats.password", text(&self.nats_password)),
            ("nats.ca", path(&self.nats_ca)),
            ("nats.replicas", self.nats_replicas.map(Value::from)),
            ("redis.url", text(&self.redis)),
            ("redis.ca", path(&self.redis_ca)),
            ("http.tls_cert", path(&self.tls_cert)),
            ("http.tls_key", path(&self.tls_key)),
            ("http.bearer_token", text(&self.bearer_token)),
            ("http.bearer_token_file", path(&self.bearer_token_file)),
            ("http.rate_limit", self.rate_limit.map(Value::from)),
            ("http.drain_delay", text(&self.drain_delay)),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
    }
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Worker => "worker",
        }
    }
}
