//! A node's process: this test program, started once more and told by its environment to be one.

use std::{collections::BTreeMap, env, fs, net::SocketAddr, path::PathBuf, time::Duration};

use convoke_cluster::{Cluster, Config, Member, Timing};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
};

use crate::{
    node::Node,
    runs::{self, Runs},
    wire::Question,
};

/// What is the node, of the tests of this program.
pub(crate) const TEST: &str = "child::node_process";
/// The variable with its [`Orders`].
pub(crate) const ORDERS: &str = "CONVOKE_FAULTS_NODE";

/// What a process is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Orders {
    pub(crate) id: u64,
    /// Where the proxy in front of it finds it.
    pub(crate) raft: SocketAddr,
    /// Where clients find it.
    pub(crate) control: PathBuf,
    /// Where members find each other: the proxies.
    pub(crate) founders: BTreeMap<u64, SocketAddr>,
    pub(crate) dir: PathBuf,
    pub(crate) heartbeat: Duration,
    pub(crate) election: (Duration, Duration),
    /// Where what runs for the leader writes its beginnings and ends.
    pub(crate) runs: PathBuf,
}

impl Orders {
    fn config(&self) -> Config {
        let config = Config::new(self.raft.to_string())
            .node_id(self.id)
            .advertise(self.founders[&self.id].to_string())
            .timing(Timing::new(self.heartbeat, self.election))
            // So that some nodes that come back need one.
            .snapshot_every(500)
            .persistent(&self.dir);
        let founder = |config: Config, (&id, address): (&u64, &SocketAddr)| {
            config.founder(id, Member::new(format!("n{id}"), address.to_string()))
        };
        self.founders.iter().fold(config, founder)
    }
}

#[test]
#[ignore = "it is a node of the other tests, and ends when they end it"]
fn node_process() {
    let orders = env::var(ORDERS).expect("somebody tells it which node it is");
    let orders = serde_json::from_str(&orders).expect("orders");
    // With the one who started it: a process that stands still hears nothing else.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .expect("it is allowed");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(serve(orders));
}

async fn serve(orders: Orders) {
    let cluster = Cluster::start(orders.config()).await.expect("the node starts");
    tokio::spawn(runs::lead(cluster.clone(), Runs::of(orders.id, &orders.runs)));
    let _ = fs::remove_file(&orders.control); // it is there when the node was killed
    let control = UnixListener::bind(&orders.control).expect("the folder is ours");
    loop {
        let (stream, _) = control.accept().await.expect("it listens");
        tokio::spawn(converse(Node::new(cluster.clone()), stream));
    }
}

async fn converse(mut node: Node, stream: UnixStream) {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let Question { ask, within_ms } = serde_json::from_str(&line).expect("a question");
        let said = node.answer(ask, Duration::from_millis(within_ms)).await;
        let line = serde_json::to_string(&said).expect("it has no odd keys") + "\n";
        if write.write_all(line.as_bytes()).await.is_err() {
            return;
        }
    }
}
