//! Three nodes, their servers, and links that can be broken.
use std::{
    path::PathBuf,
    sync::{Mutex as Lock, PoisonError},
    time::Duration,
};

use convoke_testing::{
    Disk,
    proxy::TcpProxy,
    servers::{NatsServer, RedisServer},
};
use reqwest::Client;
use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};

use crate::{
    planted::Planted,
    power::{nats_on, redis_on},
    process::Node,
};

pub(crate) const NODES: [&str; 3] = ["node1", "node2", "node3"];
/// The node whose links can be broken.
pub(crate) const LINKED: usize = 2;

/// Lines of each node that are printed after a failure.
const TAIL: usize = 40;
/// How long one question about readiness may take.
const ASK_WITHIN: Duration = Duration::from_secs(2);
/// When a node that is not ready is given up.
const NEVER_READY: Duration = Duration::from_secs(60);

/// What a fleet stands on.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Setup {
    pub(crate) redis: bool,
    pub(crate) planted: Option<Planted>,
    /// Whether the servers have disks of their own, and always sync.
    pub(crate) disks: bool,
}

pub(crate) struct Disks {
    pub(crate) nats: Disk,
    pub(crate) redis: Disk,
}

impl Disks {
    fn new_or_skip(test: &str) -> Option<Self> {
        Some(Self { nats: Disk::new_or_skip(test)?, redis: Disk::new_or_skip(test)? })
    }
}

pub(crate) struct Fleet {
    test: &'static str,
    pub(crate) nodes: [Mutex<Node>; 3],
    urls: [Lock<String>; 3],
    /// What earlier runs of each node said.
    said: [Lock<Vec<String>>; 3],
    pub(crate) nats_link: TcpProxy,
    pub(crate) redis_link: Option<TcpProxy>,
    pub(crate) nats: NatsServer,
    pub(crate) redis: Option<RedisServer>,
    // After the servers, so that nobody uses them any more when they go.
    disks: Option<Disks>,
    client: Client,
}

impl Fleet {
    /// Three ready nodes on servers of their own; `None` when a server is missing here.
    pub(crate) async fn start(test: &'static str, setup: Setup, effects_url: &str) -> Option<Self> {
        let disks = if setup.disks { Some(Disks::new_or_skip(test)?) } else { None };
        let (nats, redis) = match &disks {
            Some(disks) => (nats_on(&disks.nats, "always"), redis_on(&disks.redis, "always")),
            None => {
                let redis = RedisServer::builder().append_only().option("appendfsync", "always");
                (NatsServer::builder(), redis)
            }
        };
        let nats = nats.start_or_skip(test).await?;
        let redis = if setup.redis { Some(redis.start_or_skip(test).await?) } else { None };
        let nats_link = TcpProxy::to_port(nats.port()).await.expect("a port");
        let redis_link = match &redis {
            Some(redis) => Some(TcpProxy::to_port(redis.port()).await.expect("a port")),
            None => None,
        };
        let start = async |node: usize| {
            let linked = node == LINKED;
            let nats_url = if linked { format!("nats://{}", nats_link.address()) } else { nats.url() };
            let redis_url = match (&redis, &redis_link) {
                (Some(_), Some(link)) if linked => Some(format!("redis://{}", link.address())),
                (redis, _) => redis.as_ref().map(RedisServer::url),
            };
            let planted = setup.planted.map(Planted::name);
            let mut arguments: Vec<_> =
                planted.iter().flat_map(|name| [crate::planted::FLAG, name.as_str()]).collect();
            arguments.extend(["--node", NODES[node], "--nats", &nats_url, "--effects-url", effects_url]);
            arguments.extend(redis_url.iter().flat_map(|url| ["--redis", url]));
            Node::start(&arguments).await
        };
        let nodes: [Node; 3] = tokio::join!(start(0), start(1), start(2)).into();
        for node in &nodes {
            node.ready().await;
        }
        let urls = [0, 1, 2].map(|node: usize| Lock::new(nodes[node].url.clone()));
        let client = Client::builder().timeout(ASK_WITHIN).build().expect("a client");
        let nodes = nodes.map(Mutex::new);
        let said = Default::default();
        Some(Self { test, nodes, urls, said, nats_link, redis_link, nats, redis, disks, client })
    }

    pub(crate) fn disks(&self) -> &Disks {
        self.disks.as_ref().expect("the test asked for them")
    }

    /// Where a node is now: a new run has a new port.
    pub(crate) fn url(&self, node: usize) -> String {
        self.urls[node].lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Starts a node that ended again, under its id.
    pub(crate) async fn start_again(&self, index: usize, node: &mut Node) {
        let said = [node.lines(), node.complaints()].concat();
        self.said[index].lock().unwrap_or_else(PoisonError::into_inner).extend(said);
        *node = node.start_again().await;
        self.urls[index].lock().unwrap_or_else(PoisonError::into_inner).clone_from(&node.url);
    }

    /// How long it takes until all nodes are ready; counted no further than [`NEVER_READY`].
    pub(crate) async fn recovery(&self, since: Instant) -> Duration {
        for node in 0..3 {
            while !self.is_ready(node).await && since.elapsed() < NEVER_READY {
                sleep(Duration::from_millis(25)).await;
            }
        }
        since.elapsed()
    }

    pub(crate) async fn is_ready(&self, node: usize) -> bool {
        let answer = self.client.get(format!("{}/readyz", self.url(node))).send().await;
        answer.is_ok_and(|answer| answer.status() == 200)
    }

    /// All lines of a node, over all its runs.
    pub(crate) async fn lines(&self, node: usize) -> Vec<String> {
        let mut lines = self.said[node].lock().unwrap_or_else(PoisonError::into_inner).clone();
        let process = self.nodes[node].lock().await;
        lines.extend(process.lines());
        lines.extend(process.complaints());
        lines
    }

    /// Keeps what the nodes said in files, and prints the end of it after a failure.
    pub(crate) async fn keep_logs(&self, failed: bool) {
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(self.test);
        let kept = std::fs::create_dir_all(&directory);
        println!("  logs of the nodes: {} ({kept:?})", directory.display());
        for (node, id) in NODES.into_iter().enumerate() {
            let lines = self.lines(node).await;
            if let Err(error) = std::fs::write(directory.join(format!("{id}.log")), lines.join("\n")) {
                println!("--- the log of {id} was not kept: {error}");
            }
            if failed {
                println!("--- {id} said in the end");
                lines.iter().skip(lines.len().saturating_sub(TAIL)).for_each(|line| println!("{line}"));
            }
        }
    }
}
