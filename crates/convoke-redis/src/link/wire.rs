use std::fmt;

use redis::aio::ConnectionManager;
use redis::cluster_async::ClusterConnection;
use redis::{Cmd, RedisResult, Value};

/// The client's connection to a single server or to a cluster. Cloning is cheap and shares it.
#[derive(Clone)]
pub(super) enum Wire {
    Single(ConnectionManager),
    Cluster(ClusterConnection),
}

impl Wire {
    pub(super) async fn send(&self, cmd: &Cmd) -> RedisResult<Value> {
        match self.clone() {
            Self::Single(mut connection) => cmd.query_async(&mut connection).await,
            Self::Cluster(mut connection) => cmd.query_async(&mut connection).await,
        }
    }

    pub(super) async fn subscribe(&self, channel: &str) -> RedisResult<()> {
        match self.clone() {
            Self::Single(mut connection) => connection.subscribe(channel).await,
            Self::Cluster(mut connection) => connection.subscribe(channel).await,
        }
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Single(_) => "Single",
            Self::Cluster(_) => "Cluster",
        })
    }
}
