//! The engine over these wires, within one process.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use bytes::Bytes;
use convoke_core::BoxFuture;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::{Raft, ServerState, SnapshotPolicy};
use tokio::time::Instant;

use super::kit::{Pipes, identity, member};
use crate::engine::calls::{Answer, Ask, Reply};
use crate::engine::log::Log;
use crate::engine::net::{Net, Served, Timing};
use crate::engine::replica::Replica;
use crate::engine::runtime::watch;
use crate::engine::snapshot::{SnapshotFile, Snapshots};
use crate::engine::types::{Op, Proposal, Types};
use crate::replicated::System;
use crate::{At, Image, NodeId, StateMachine};

/// Counts commands.
#[derive(Debug, Clone, Default)]
struct Count(u64);

impl StateMachine for Count {
    type Image = Self;

    fn apply(&mut self, _at: At, _command: &[u8]) -> Bytes {
        self.0 += 1;
        Bytes::copy_from_slice(&self.0.to_le_bytes())
    }

    fn image(&self) -> Self {
        self.clone()
    }

    fn restore(&mut self, image: &mut dyn Read) -> io::Result<()> {
        let mut bytes = [0; 8];
        image.read_exact(&mut bytes)?;
        self.0 = u64::from_le_bytes(bytes);
        Ok(())
    }
}

impl Image for Count {
    fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        to.write_all(&self.0.to_le_bytes())
    }
}

struct Nobody;

impl Answer for Nobody {
    fn answer(&self, _ask: Ask, _deadline: Instant) -> BoxFuture<'_, Reply> {
        Box::pin(async { Reply::NotLeader(None) })
    }
}

struct Node {
    raft: Raft<Types, Replica<Count>>,
    system: Arc<RwLock<System<Count>>>,
    net: Net,
    listening: tokio::task::JoinHandle<()>,
}

impl Node {
    /// Waits until it leads, and a majority has heard of it.
    async fn leads(&self) {
        let leads = self.raft.wait(patience());
        let leads = leads.metrics(
            |metrics| metrics.state == ServerState::Leader && metrics.last_quorum_acked.is_some(),
            "leads",
        );
        leads.await.expect("in time");
    }

    fn count(&self) -> u64 {
        self.system.read().expect("no panic").machine().0
    }
}

fn at(id: NodeId) -> String {
    format!("n{id}")
}

async fn node(pipes: &Pipes, id: NodeId) -> Node {
    let config = openraft::Config {
        heartbeat_interval: 80,
        election_timeout_min: 250,
        election_timeout_max: 400,
        enable_pre_vote: Some(true),
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: 0,
        ..openraft::Config::default()
    };
    let config = Arc::new(config.validate().expect("sound"));
    let net = Net::new(identity(id), Timing::default(), Arc::new(pipes.clone()));
    let system = Arc::new(RwLock::new(System::new(Count::default())));
    let snapshots = Snapshots::in_memory();
    let replica = Replica::new(Arc::clone(&system), snapshots.clone(), watch::Sender::new(0));
    let raft = Raft::new(id, config, net.factory::<SnapshotFile>(), Log::in_memory(), replica)
        .await
        .expect("started");
    let served = Served { raft: raft.clone(), snapshots, answers: Arc::new(Nobody) };
    let listening = pipes.serve(&at(id), net.server(Arc::new(served)));
    Node { raft, system, net, listening }
}

fn add() -> Proposal {
    Proposal { time_ms: 0, origin: None, op: Op::Machine(Bytes::from_static(b"one more")) }
}

fn patience() -> Option<Duration> {
    Some(Duration::from_secs(10))
}

async fn three(pipes: &Pipes) -> BTreeMap<NodeId, Node> {
    let mut nodes = BTreeMap::new();
    for id in 1..=3 {
        nodes.insert(id, node(pipes, id).await);
    }
    let members: BTreeMap<_, _> = nodes.keys().map(|&id| (id, member(&at(id)))).collect();
    nodes[&1].raft.initialize(members).await.expect("founded");
    nodes[&1].leads().await;
    nodes
}

#[tokio::test(start_paused = true)]
async fn three_nodes_elect_a_leader_agree_and_elect_another_one() {
    let pipes = Pipes::default();
    let mut nodes = three(&pipes).await;
    for _ in 0..200 {
        nodes[&1].raft.client_write(add()).await.expect("written");
    }
    let index = nodes[&1].raft.metrics().borrow_watched().last_log_index.expect("entries");
    for node in nodes.values() {
        node.raft.wait(patience()).applied_index_at_least(Some(index), "replicated").await.expect("in time");
        assert_eq!(node.count(), 200);
    }
    let gone = nodes.remove(&1).expect("it was there");
    gone.listening.abort();
    gone.raft.shutdown().await.expect("stopped");
    let deadline = Instant::now() + Duration::from_secs(10);
    let leader = loop {
        let leader = nodes.values().find(|node| node.raft.is_leader());
        if let Some(leader) = leader {
            break leader;
        }
        assert!(Instant::now() < deadline, "another leader");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    leader.leads().await;
    leader.raft.client_write(add()).await.expect("written");
    assert_eq!(leader.count(), 201);
}

#[tokio::test(start_paused = true)]
async fn leadership_is_handed_over() {
    let pipes = Pipes::default();
    let nodes = three(&pipes).await;
    nodes[&1].raft.client_write(add()).await.expect("written");
    nodes[&1].raft.trigger().transfer_leader(2).await.expect("asked");
    nodes[&2].leads().await;
    nodes[&2].raft.client_write(add()).await.expect("written");
    assert_eq!(nodes[&2].count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_new_member_gets_a_snapshot_and_what_came_after_it() {
    let pipes = Pipes::default();
    let nodes = three(&pipes).await;
    for _ in 0..100 {
        nodes[&1].raft.client_write(add()).await.expect("written");
    }
    let index = nodes[&1].raft.metrics().borrow_watched().last_log_index.expect("entries");
    nodes[&1].raft.trigger().snapshot().await.expect("asked");
    let purged = nodes[&1].raft.wait(patience());
    purged
        .metrics(|metrics| metrics.purged.map(|id| id.index) == Some(index), "purged")
        .await
        .expect("in time");
    for _ in 0..10 {
        nodes[&1].raft.client_write(add()).await.expect("written");
    }
    let four = node(&pipes, 4).await;
    nodes[&1].raft.add_learner(4, member(&at(4)), true).await.expect("added");
    let index = nodes[&1].raft.metrics().borrow_watched().last_log_index.expect("entries");
    four.raft.wait(patience()).applied_index_at_least(Some(index), "caught up").await.expect("in time");
    assert_eq!(four.count(), 110);
    assert!(four.raft.metrics().borrow_watched().snapshot.is_some(), "by a snapshot");
}

#[tokio::test(start_paused = true)]
async fn replication_to_a_member_that_is_away_asks_it_seldom() {
    let pipes = Pipes::default();
    let mut nodes = three(&pipes).await;
    let away = nodes.remove(&3).expect("it was there");
    away.listening.abort();
    away.raft.shutdown().await.expect("stopped");
    drop(away);
    let before = nodes[&1].net.attempts();
    let begun = Instant::now();
    let mut written = 0;
    while begun.elapsed() < Duration::from_secs(10) {
        nodes[&1].raft.client_write(add()).await.expect("two are a majority");
        written += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let attempts = nodes[&1].net.attempts() - before;
    assert!(written > 1000 && attempts <= 250, "{attempts} attempts during {written} writes");
}
