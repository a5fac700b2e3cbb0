//! Nodes are replaced one after the other, and nobody notices: neither on the bus nor behind a load balancer.
mod bus;
mod tally;
mod web;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use convoke_testing::{
    eventually, eventually_within,
    servers::{Haproxy, NatsServer, RedisServer, free_port},
};
use rustix::process::Signal;
use tally::Tally;
use tokio::task::JoinSet;

use crate::process::Node;

/// The configuration of the guide.
const HAPROXY: &str = include_str!("../../../../docker/haproxy.cfg");
const PORTS: [&str; 3] = ["127.0.0.1:5001", "127.0.0.1:5002", "127.0.0.1:5003"];
/// Longer than the load balancer needs to notice, on a busy machine.
const DRAIN_DELAY: &str = "2s";
/// How long a node may take to end.
const ENDS_WITHIN: Duration = Duration::from_secs(12);
/// Callers of each kind.
const CALLERS: usize = 6;
/// What a run must have seen between two replacements to count.
const DONE_BETWEEN: usize = 20;

struct Fleet {
    nodes: Vec<Node>,
    proxy: Haproxy,
    nats: NatsServer,
    _redis: Option<RedisServer>,
}

impl Fleet {
    async fn start(test: &str, with_redis: bool) -> Option<Self> {
        let nats = NatsServer::start_or_skip(test).await?;
        let redis = if with_redis { Some(RedisServer::start_or_skip(test).await?) } else { None };
        let listens = PORTS.map(|_| format!("127.0.0.1:{}", free_port().expect("a free port")));
        let of_the_guide = PORTS.iter().zip(&listens);
        let config = of_the_guide
            .fold(HAPROXY.replace("bind :8080", "bind 127.0.0.1:{port}"), |text, (a, b)| text.replace(a, b));
        let proxy = Haproxy::start_or_skip(test, &config).await?;
        let mut nodes = Vec::new();
        for (n, listen) in listens.iter().enumerate() {
            let (id, nats, redis) =
                (format!("node{}", n + 1), nats.url(), redis.as_ref().map(RedisServer::url));
            let mut arguments = vec!["--node", &id, "--listen", listen, "--drain-delay", DRAIN_DELAY];
            arguments.extend(["--nats", &nats]);
            arguments.extend(redis.iter().flat_map(|url| ["--redis", url]));
            nodes.push(Node::start(&arguments).await);
        }
        for node in &nodes {
            node.ready().await;
        }
        let fleet = Self { nodes, proxy, nats, _redis: redis };
        let behind = async || reqwest::get(format!("{}/readyz", fleet.proxy.url())).await;
        eventually("haproxy has found a node", async || behind().await.is_ok_and(|a| a.status() == 200))
            .await;
        Some(fleet)
    }

    /// SIGTERM, its end, and a new start.
    async fn replace(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        node.signal(Signal::TERM);
        let status = node.ended(ENDS_WITHIN).await;
        let report = node.said(" ended: finished ").unwrap_or_default();
        assert!(status.success(), "{status}: {:?}", node.lines());
        assert!(report.contains("lost 0,") && report.contains("HTTP requests cut off: 0"), "{report}");
        self.nodes[index] = node.start_again().await;
    }
}

async fn nobody_notices(test: &str, with_redis: bool) {
    let Some(mut fleet) = Fleet::start(test, with_redis).await else { return };
    let tally = Arc::new(Tally::default());
    let caller = bus::caller(&fleet.nats.url()).await;
    let mut callers = JoinSet::new();
    for n in 0..CALLERS {
        callers.spawn(bus::work(caller.mediator(), n, Arc::clone(&tally)));
        callers.spawn(web::work(fleet.proxy.url(), n, Arc::clone(&tally)));
    }
    let rounds = if convoke_testing::is_soak() { 7 } else { 1 };
    for turn in 0..3 * rounds {
        more_is_done(&tally).await;
        fleet.replace(turn % 3).await;
    }
    more_is_done(&tally).await;
    tally.stop();
    while let Some(ended) = callers.join_next().await {
        ended.expect("no caller panics");
    }
    println!("{test}: {} replacements, {tally}", 3 * rounds);
    let failures = tally.failures();
    assert!(failures.is_empty(), "{} failed: {failures:#?}\n{}", failures.len(), fleet.proxy.log_tail());
    let listed: Vec<_> = fleet.nodes[0].orders().await;
    let placed: BTreeSet<_> = tally.placed();
    assert_eq!(listed.iter().cloned().collect::<BTreeSet<_>>(), placed, "each order is there");
    assert_eq!(listed.len(), placed.len(), "and once");
}

async fn more_is_done(tally: &Tally) {
    let wanted = tally.done().map(|done| done + DONE_BETWEEN);
    let done = async || {
        let done = tally.done();
        if done.iter().zip(&wanted).all(|(done, wanted)| done >= wanted) { Ok(()) } else { Err(done) }
    };
    eventually_within(Duration::from_secs(60), "requests are answered", done).await;
}

#[tokio::test]
async fn a_rolling_restart_behind_haproxy_fails_no_request() {
    nobody_notices("a_rolling_restart_behind_haproxy_fails_no_request", false).await;
}

#[tokio::test]
async fn a_rolling_restart_with_redis_behind_haproxy_fails_no_request() {
    nobody_notices("a_rolling_restart_with_redis_behind_haproxy_fails_no_request", true).await;
}
