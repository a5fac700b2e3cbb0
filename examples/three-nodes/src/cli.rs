//! The command line.
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Parser, ValueEnum};
use convoke_cluster::{Config, NodeId};

/// Where HTTP is served without `--port`: this and the node's number.
const PORT_BASE: u16 = 8080;
/// Where health is told without `--health-port`: this and the node's number.
const HEALTH_PORT_BASE: u16 = 10_000;

/// One node of a replicated key-value store, with an HTTP API of its own and health checks for load balancers.
#[derive(Debug, Clone, Parser)]
#[command(name = "three-nodes-embedded", version)]
pub struct Cli {
    /// The configuration of the cluster, TOML or YAML, with or without its ending: `config/n1`, say.
    #[arg(long, value_name = "FILE", env = "CONFIG_PATH")]
    pub config_path: PathBuf,
    /// Where the key-value store is served. 0 takes a free port. [default: 8080 and the node's number]
    #[arg(long, env = "PORT")]
    pub port: Option<u16>,
    /// Where `/primary`, `/replica` and `/health` are served. 0 takes a free port. [default: 10000 and the node's
    /// number]
    #[arg(long, env = "HEALTH_PORT")]
    pub health_port: Option<u16>,
    /// Where other nodes are heard, in place of the port of `listen_address`.
    #[arg(long, env = "RAFT_PORT")]
    pub raft_port: Option<u16>,
    /// The address of both HTTP ports. 0.0.0.0 serves all networks: the API has no password.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1", env = "HOST")]
    pub host: String,
    /// Where the log and the snapshots are kept when the configuration says nothing. [default: db/ and the node's
    /// number]
    #[arg(long, value_name = "DIRECTORY", env = "DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Goes on serving for so long after it was told to stop, while `/primary` and `/replica` say so.
    #[arg(long, value_name = "DURATION", default_value = "500ms", env = "DRAIN_DELAY", value_parser = duration)]
    pub drain_delay: Duration,
    /// Which log lines are written, such as `info` or `warn,convoke_cluster=debug`.
    #[arg(long, value_name = "FILTER", default_value = "info,openraft=error", env = "RUST_LOG")]
    pub log: String,
    /// How log lines look.
    #[arg(long, value_enum, default_value_t, env = "LOG_FORMAT")]
    pub log_format: LogFormat,
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

impl Cli {
    /// The configuration of the cluster, with what the flags say.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn config(&self) -> Result<Config, String> {
        let file = &self.config_path;
        let mut config =
            Config::from_file(file).map_err(|error| format!("--config-path {}: {error}", file.display()))?;
        if let Some(port) = self.raft_port {
            let host = config.listen.rsplit_once(':').map_or("0.0.0.0", |(host, _)| host);
            config.listen = format!("{host}:{port}");
        }
        if config.path.is_none() {
            let node = config.node_id.unwrap_or_default();
            config.path =
                Some(self.data_dir.clone().unwrap_or_else(|| Path::new("db").join(node.to_string())));
        }
        Ok(config)
    }

    /// Where the key-value store is served.
    #[must_use]
    pub fn api_address(&self, node: Option<NodeId>) -> String {
        self.address(self.port, PORT_BASE, node)
    }

    /// Where health is told.
    #[must_use]
    pub fn health_address(&self, node: Option<NodeId>) -> String {
        self.address(self.health_port, HEALTH_PORT_BASE, node)
    }

    fn address(&self, port: Option<u16>, base: u16, node: Option<NodeId>) -> String {
        let of_the_node = || base.saturating_add(u16::try_from(node.unwrap_or_default()).unwrap_or_default());
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        format!("{host}:{}", port.unwrap_or_else(of_the_node))
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    convoke::duration::parse(text).ok_or_else(|| "write it like 500ms or 2s".to_owned())
}
