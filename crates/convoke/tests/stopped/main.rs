//! A node that stands still for longer than its lease while it runs a handler: another node's run is the one that
//! counts. The first node is a process of its own, so that it can be stopped.
#![cfg(all(unix, feature = "nats", feature = "redis"))]

mod gate;
mod process;

use std::{net::SocketAddr, time::Duration};

use convoke::{App, Command, Config, Context, Node, Outcome, handler, nats, redis};
use convoke_testing::servers::{NatsServer, RedisServer};
use gate::{Ended, Gate};
use process::Child;
use serde::{Deserialize, Serialize};

/// Short, so that a test need not wait long for its end.
const LEASE: Duration = Duration::from_secs(1);
/// Callers wait for longer than everything else together.
const PATIENCE: Duration = Duration::from_secs(40);

#[derive(Debug, Clone, Serialize, Deserialize, Command)]
#[command(name = "stopped.hold.v1", reply = String, idempotent)]
struct Hold {
    gate: SocketAddr,
    blocks: bool,
}

#[handler]
async fn hold(command: Hold, cx: &Context) -> Outcome<Hold> {
    if command.blocks && cx.node() == FIRST {
        gate::block(command.gate, cx.node())?;
    } else {
        gate::wait(command.gate, cx.node()).await?;
    }
    Ok(format!("{}, fence {}", cx.node(), cx.fence().unwrap_or_default()))
}

/// Where the nodes of one test meet.
#[derive(Debug, Clone)]
struct Servers {
    nats: String,
    redis: Option<String>,
}

impl Servers {
    async fn node(&self, service: &str, id: &str) -> Node {
        let mut config = Config::default();
        config.lease = LEASE;
        config.attempt_timeout = PATIENCE; // one attempt: its answer comes from the node that got it
        config.handler_timeout = PATIENCE; // only the lease ends a run
        let transport = nats::Transport::connect(&self.nats).await.expect("an address");
        let app = App::new(service).node(id).config(config);
        let app = match &self.redis {
            Some(url) => app.stores(redis::Stores::connect(url).await.expect("an address")),
            None => app.stores(transport.stores()),
        };
        let app = app.transport(transport);
        let app = if service == HOLDERS { app.discover() } else { app };
        let node = app.start().await.expect("it starts");
        node.ready(PATIENCE).await.expect("its servers are there");
        node
    }
}

/// The service with the handler.
const HOLDERS: &str = "holders";
/// The node that will be stopped.
const FIRST: &str = "node1";

/// How the first node's run ends, and what its caller gets.
async fn stopped_while_it_runs(servers: &Servers, blocks: bool) -> (Ended, bool) {
    let mut first_node = Child::start(servers).await;
    let gate = Gate::new().await;
    let command = Hold { gate: gate.address(), blocks };
    let caller = servers.node("callers", "caller").await;
    let call = {
        let (mediator, command) = (caller.mediator(), command.clone());
        tokio::spawn(
            async move { mediator.send(command).idempotency_key("k").timeout(PATIENCE).detailed().await },
        )
    };
    let mut first = gate.next().await;
    assert_eq!(first.node, FIRST);
    first_node.stop();

    let second_node = servers.node(HOLDERS, "node2").await;
    let other = second_node.mediator();
    let other = other.send(command).idempotency_key("k").timeout(PATIENCE).local().detailed();
    let at_the_gate = async {
        let mut second = gate.next().await;
        assert_eq!(second.node, "node2");
        second.open().await;
        assert_eq!(second.ended().await, Ended::Finished);
    };
    let (completed, ()) = tokio::join!(other, at_the_gate);
    let completed = completed.expect("the other node's run completes");
    assert_eq!((completed.value.as_str(), completed.replayed), ("node2, fence 2", false));

    first_node.go_on();
    if blocks {
        first.open().await;
    }
    let ended = first.ended().await;
    let answer = call.await.expect("no panic").expect("an answer");
    assert_eq!(answer.value, completed.value, "what was stored is the second run's outcome");
    (ended, answer.replayed)
}

async fn check(servers: Servers) {
    // It waits, so that it can be cancelled: it never gets as far as its commit.
    assert_eq!(stopped_while_it_runs(&servers, false).await, (Ended::Cancelled, true));
}

async fn check_late_commit(servers: Servers) {
    // It comes to its end, and its node tries to commit: that is refused, so its caller gets the other's outcome.
    assert_eq!(stopped_while_it_runs(&servers, true).await, (Ended::Finished, true));
}

async fn on_nats(test: &str) -> Option<(Servers, NatsServer)> {
    let nats = NatsServer::start_or_skip(test).await?;
    Some((Servers { nats: nats.url(), redis: None }, nats))
}

async fn on_redis(test: &str) -> Option<(Servers, NatsServer, RedisServer)> {
    let nats = NatsServer::start_or_skip(test).await?;
    let redis = RedisServer::start_or_skip(test).await?;
    Some((Servers { nats: nats.url(), redis: Some(redis.url()) }, nats, redis))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_of_a_node_that_stood_still_is_cancelled_and_another_run_completes() {
    let test = "a_handler_of_a_node_that_stood_still_is_cancelled_and_another_run_completes";
    let Some((servers, _nats)) = on_nats(test).await else { return };
    check(servers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_redis_a_handler_of_a_node_that_stood_still_is_cancelled_and_another_run_completes() {
    let test = "with_redis_a_handler_of_a_node_that_stood_still_is_cancelled_and_another_run_completes";
    let Some((servers, _nats, _redis)) = on_redis(test).await else { return };
    check(servers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commit_of_a_node_that_stood_still_is_refused() {
    let Some((servers, _nats)) = on_nats("the_commit_of_a_node_that_stood_still_is_refused").await else {
        return;
    };
    check_late_commit(servers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_redis_the_commit_of_a_node_that_stood_still_is_refused() {
    let test = "with_redis_the_commit_of_a_node_that_stood_still_is_refused";
    let Some((servers, _nats, _redis)) = on_redis(test).await else { return };
    check_late_commit(servers).await;
}

/// The process of the first node. It ends when its standard input does.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the other tests start it"]
async fn node_process() {
    let servers = process::told().expect("the other tests tell it where the servers are");
    let node = servers.node(HOLDERS, FIRST).await;
    process::say_ready();
    node.run_until(process::hung_up()).await.expect("nothing fails for good");
}
