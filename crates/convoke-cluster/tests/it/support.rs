//! A cluster of nodes that can be stopped, restarted and counted.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use convoke_cluster::{
    At, Cluster, Config, Consistency, Durability, Error, Image, Member, NodeId, StateMachine, Timing,
};
use convoke_testing::{eventually, servers::free_port};
use tempfile::TempDir;
use tokio::time::Instant;

/// What a test waits for at most.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Every command that was applied, in order. Answers with how many there are.
#[derive(Debug, Default, Clone)]
pub(crate) struct Journal {
    pub(crate) lines: Vec<Bytes>,
}

impl StateMachine for Journal {
    type Image = Lines;

    fn apply(&mut self, _: At, command: &[u8]) -> Bytes {
        self.lines.push(Bytes::copy_from_slice(command));
        Bytes::from(self.lines.len().to_string())
    }

    fn image(&self) -> Lines {
        Lines(Arc::new(self.lines.clone()))
    }

    fn restore(&mut self, image: &mut dyn Read) -> io::Result<()> {
        let mut text = Vec::new();
        image.read_to_end(&mut text)?;
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        self.lines = lines.map(Bytes::copy_from_slice).collect();
        Ok(())
    }
}

/// An image of a journal.
#[derive(Debug)]
pub(crate) struct Lines(Arc<Vec<Bytes>>);

impl Image for Lines {
    fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        self.0.iter().try_for_each(|line| {
            to.write_all(line)?;
            to.write_all(b"\n")
        })
    }
}

/// Nodes that found a cluster together, each with a folder of its own or none.
pub(crate) struct Nodes {
    pub(crate) founders: BTreeMap<NodeId, Member>,
    pub(crate) running: BTreeMap<NodeId, Cluster<Journal>>,
    folders: Folders,
    pub(crate) timing: Timing,
    pub(crate) forward: bool,
    pub(crate) snapshot_every: u64,
    pub(crate) durability: Durability,
}

/// Where the nodes keep what they keep.
enum Folders {
    Nowhere,
    Own(TempDir),
    Given(PathBuf),
}

impl Nodes {
    pub(crate) fn in_memory(count: u64) -> Self {
        Self::new(count, Folders::Nowhere)
    }

    pub(crate) fn on_disk(count: u64) -> Self {
        Self::new(count, Folders::Own(tempfile::tempdir().expect("a temporary directory")))
    }

    pub(crate) fn in_folder(count: u64, folder: PathBuf) -> Self {
        Self::new(count, Folders::Given(folder))
    }

    fn new(count: u64, folders: Folders) -> Self {
        let founders = (1..=count).map(|id| (id, Member::new(format!("n{id}"), free_address())));
        let (founders, running) = (founders.collect(), BTreeMap::new());
        Self {
            founders,
            running,
            folders,
            timing: Timing::LAN_FAST,
            forward: true,
            snapshot_every: 50_000,
            durability: Durability::Sync,
        }
    }

    pub(crate) fn config(&self, id: NodeId) -> Config {
        let mut config = Config::new(self.founders[&id].raft.clone()).node_id(id).timing(self.timing);
        config = config.forward(self.forward).snapshot_every(self.snapshot_every).durability(self.durability);
        for (id, member) in &self.founders {
            config = config.founder(*id, member.clone());
        }
        match self.folder(id) {
            Some(folder) => config.persistent(folder),
            None => config,
        }
    }

    pub(crate) fn folder(&self, id: NodeId) -> Option<PathBuf> {
        self.folder_named(&id.to_string())
    }

    fn folder_named(&self, name: &str) -> Option<PathBuf> {
        match &self.folders {
            Folders::Nowhere => None,
            Folders::Own(folder) => Some(folder.path().join(name)),
            Folders::Given(folder) => Some(folder.join(name)),
        }
    }

    pub(crate) async fn start(&mut self, id: NodeId) -> &Cluster<Journal> {
        let started = Cluster::start_with(self.config(id), Journal::default()).await;
        self.running.insert(id, started.expect("the node starts"));
        &self.running[&id]
    }

    /// A node that waits to be added, and keeps its state as the others do.
    pub(crate) async fn newcomer(&self, name: &str) -> (Member, Cluster<Journal>) {
        let address = free_address();
        let config = Config::new(&address).node(name).timing(self.timing).snapshot_every(self.snapshot_every);
        let config = self.founders.values().fold(config, |config, member| config.join(&member.raft));
        let config = match self.folder_named(&address.replace(':', "-")) {
            Some(folder) => config.persistent(folder),
            None => config,
        };
        let started = Cluster::start_with(config, Journal::default()).await.expect("it starts");
        (Member::new(name, address), started)
    }

    pub(crate) async fn start_all(&mut self) {
        let starting = self.founders.keys().map(|id| async {
            (*id, Cluster::start_with(self.config(*id), Journal::default()).await.expect("the node starts"))
        });
        let started = futures_util::future::join_all(starting).await;
        self.running.extend(started);
    }

    /// Ends a node without a word to anybody.
    pub(crate) fn kill(&mut self, id: NodeId) {
        drop(self.running.remove(&id).expect("it runs"));
    }

    pub(crate) async fn leader(&self) -> (NodeId, &Cluster<Journal>) {
        let id = eventually("a node leads", async || {
            self.running.iter().find(|(_, node)| node.is_leader()).map(|(id, _)| *id)
        })
        .await;
        (id, &self.running[&id])
    }

    pub(crate) async fn follower(&self) -> (NodeId, &Cluster<Journal>) {
        let (leader, _) = self.leader().await;
        let id = self.running.keys().copied().find(|id| *id != leader).expect("there are others");
        (id, &self.running[&id])
    }
}

pub(crate) fn free_address() -> String {
    format!("127.0.0.1:{}", free_port().expect("a free port"))
}

pub(crate) async fn write(node: &Cluster<Journal>, line: impl Into<Bytes>) -> Result<u64, Error> {
    write_within(node, line, PATIENCE).await
}

pub(crate) async fn write_within(
    node: &Cluster<Journal>,
    line: impl Into<Bytes>,
    within: Duration,
) -> Result<u64, Error> {
    let answer = node.propose(line.into(), Instant::now() + within).await?;
    Ok(std::str::from_utf8(&answer).expect("a number").parse().expect("a number"))
}

pub(crate) async fn lines(node: &Cluster<Journal>, consistency: Consistency) -> Vec<Bytes> {
    node.barrier(consistency, Instant::now() + PATIENCE).await.expect("a leader confirms it");
    node.read(|journal| journal.lines.clone())
}
