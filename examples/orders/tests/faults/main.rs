//! Nothing lost, nothing twice: three real nodes on real servers, under load, while things break.
//!
//! The short form runs with the other tests. `CONVOKE_SOAK=1` asks for the long one, and `CONVOKE_FAULT_SEED` repeats
//! a mixed run.
#![cfg(unix)]

mod check;
mod fault;
mod fleet;
mod history;
mod load;
mod plan;
mod planted;
mod power;
#[path = "../cluster/process.rs"]
#[expect(dead_code, reason = "this test uses a part of what the other one needs")]
mod process;
mod run;
mod sink;
mod view;

use std::process::Command;

use fault::Fault::{
    KillNats, KillNode, KillRedis, LoseNats, LoseNatsAnswers, LoseRedis, LoseRedisAnswers, StopNode, TermNode,
};
use run::run;

/// What runs a node: `orders`, or this program with a planted fault.
fn program(arguments: &[String]) -> Command {
    if arguments.first().is_some_and(|first| first == planted::FLAG) {
        return planted::program(arguments);
    }
    let mut program = Command::new(env!("CARGO_BIN_EXE_orders"));
    program.arg("node").args(arguments);
    program
}

const NATS_ALONE: bool = false;
const WITH_REDIS: bool = true;

#[tokio::test]
async fn nothing_is_lost_when_nodes_are_killed() {
    run("nothing_is_lost_when_nodes_are_killed", NATS_ALONE, &[KillNode]).await;
}

#[tokio::test]
async fn nothing_is_lost_when_nodes_on_redis_are_killed() {
    run("nothing_is_lost_when_nodes_on_redis_are_killed", WITH_REDIS, &[KillNode]).await;
}

#[tokio::test]
async fn nothing_is_lost_when_nodes_are_stopped_for_longer_than_their_lease() {
    let test = "nothing_is_lost_when_nodes_are_stopped_for_longer_than_their_lease";
    run(test, NATS_ALONE, &[StopNode]).await;
}

#[tokio::test]
async fn nothing_is_lost_when_nodes_on_redis_are_stopped_for_longer_than_their_lease() {
    let test = "nothing_is_lost_when_nodes_on_redis_are_stopped_for_longer_than_their_lease";
    run(test, WITH_REDIS, &[StopNode]).await;
}

#[tokio::test]
async fn nothing_is_lost_when_nats_is_killed() {
    run("nothing_is_lost_when_nats_is_killed", NATS_ALONE, &[KillNats]).await;
}

#[tokio::test]
async fn nothing_is_lost_when_redis_is_killed() {
    run("nothing_is_lost_when_redis_is_killed", WITH_REDIS, &[KillRedis]).await;
}

#[tokio::test]
async fn nothing_is_lost_when_a_link_carries_nothing() {
    run("nothing_is_lost_when_a_link_carries_nothing", WITH_REDIS, &[LoseNats, LoseRedis]).await;
}

#[tokio::test]
async fn nothing_is_lost_when_acknowledgements_are() {
    run("nothing_is_lost_when_acknowledgements_are", WITH_REDIS, &[LoseNatsAnswers, LoseRedisAnswers]).await;
}

#[tokio::test]
async fn nothing_is_lost_when_nodes_are_replaced_one_by_one() {
    run("nothing_is_lost_when_nodes_are_replaced_one_by_one", WITH_REDIS, &[TermNode]).await;
}

#[tokio::test]
async fn nothing_is_lost_when_everything_breaks_at_once() {
    let all = [
        KillNode,
        StopNode,
        KillNats,
        KillRedis,
        LoseNats,
        LoseNatsAnswers,
        LoseRedis,
        LoseRedisAnswers,
        TermNode,
    ];
    run("nothing_is_lost_when_everything_breaks_at_once", WITH_REDIS, &all).await;
}

#[tokio::test]
async fn nothing_is_lost_when_everything_breaks_at_once_with_nats_alone() {
    let all = [KillNode, StopNode, KillNats, LoseNats, LoseNatsAnswers, TermNode];
    run("nothing_is_lost_when_everything_breaks_at_once_with_nats_alone", NATS_ALONE, &all).await;
}
