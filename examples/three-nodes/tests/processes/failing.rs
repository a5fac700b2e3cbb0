//! Nodes are killed, and come back.
use std::time::Duration;

use convoke_testing::{eventually, eventually_within};
use serde_json::json;
use tokio::time::Instant;

use crate::nodes::{Answer, Nodes, WITHIN};

/// The deadline of a node, which is 5 s, and what a busy machine adds.
const ANSWERED_WITHIN: Duration = Duration::from_secs(9);

#[tokio::test]
async fn after_the_leader_was_killed_another_takes_over_and_nothing_is_lost() {
    let mut nodes = Nodes::start_as_shipped().await;
    let mut written = 0;
    for _ in 0..2 {
        let leads = nodes.settled().await;
        let other = (leads + 1) % 3;
        for _ in 0..20 {
            let answer =
                nodes.put(other, &format!("k{written}"), &written.to_string()).await.expect("an answer");
            assert_eq!(answer.status, 200, "{answer:?}");
            written += 1;
        }
        nodes.kill(leads);
        let killed = Instant::now();
        let again = async || match nodes.put(other, "after", "it goes on").await {
            Ok(answer) if answer.status == 200 => Ok(()),
            other => Err((other, nodes.said())),
        };
        eventually_within(WITHIN, "the other two have a leader", again).await;
        println!("the first write after the leader was killed: {} ms", killed.elapsed().as_millis());
        nodes.settled_without(&[leads]).await;
        nodes.start_again(leads);
        nodes.settled().await;
        for key in 0..written {
            let read = nodes.get(leads, &format!("/kv/k{key}?consistency=linearizable")).await;
            assert_eq!((read.status, read.json()), (200, json!({ "value": key.to_string() })), "k{key}");
        }
    }
}

#[tokio::test]
async fn five_nodes_go_on_without_two_and_not_without_three() {
    let mut nodes = Nodes::start_five().await;
    assert_eq!(nodes.put(4, "k", "by five").await.expect("an answer").status, 200);
    let leads = nodes.settled().await;
    let [first, second, third, stays, last] = [0, 1, 2, 3, 4].map(|n| (leads + n) % 5);
    nodes.kill(first);
    nodes.kill(second);
    let written = async || match nodes.put(stays, "k", "by three").await {
        Ok(answer) if answer.status == 200 => Ok(()),
        other => Err(other),
    };
    eventually_within(WITHIN, "three of five are a majority", written).await;
    let read = nodes.get(last, "/kv/k?consistency=linearizable").await;
    assert_eq!((read.status, read.json()), (200, json!({ "value": "by three" })));
    nodes.kill(third);
    refused(async || nodes.put(stays, "k", "by two").await.expect("an answer"), false).await;
    nodes.start_again(second);
    let written = async || match nodes.put(stays, "k", "by three again").await {
        Ok(answer) if answer.status == 200 => Ok(()),
        other => Err(other),
    };
    eventually_within(WITHIN, "they are a majority again", written).await;
}

#[tokio::test]
async fn nodes_that_were_all_killed_and_started_again_have_what_was_written() {
    let mut nodes = Nodes::start().await;
    for n in 0..3 {
        assert_eq!(nodes.put(n, &format!("k{n}"), "kept").await.expect("an answer").status, 200);
    }
    for n in 0..3 {
        nodes.kill(n);
    }
    for n in 0..3 {
        nodes.start_again(n);
    }
    nodes.settled().await;
    for (reader, key) in [(0, "k2"), (1, "k0"), (2, "k1")] {
        let read = nodes.get(reader, &format!("/kv/{key}")).await;
        assert_eq!((read.status, read.json()), (200, json!({ "value": "kept" })));
    }
    for n in 1..=3 {
        assert!(nodes.directory.path().join(format!("db/{n}")).is_dir(), "the log is where the README says");
    }
}

#[tokio::test]
async fn from_what_is_left_of_a_lost_majority_a_new_cluster_begins() {
    let mut nodes = Nodes::start().await;
    for n in 0..3 {
        assert_eq!(nodes.put(n, &format!("k{n}"), "kept").await.expect("an answer").status, 200);
    }
    let has_all = async || nodes.get(1, "/kv/k2?consistency=eventual").await.status == 200;
    eventually("the survivor has all", has_all).await;
    for n in 0..3 {
        nodes.kill(n);
    }
    for lost in [1, 3] {
        std::fs::remove_dir_all(nodes.directory.path().join(format!("db/{lost}"))).expect("it is there");
    }
    nodes.begin_again(&[1]);
    nodes.settled_without(&[1, 2]).await;
    for key in ["k0", "k1", "k2"] {
        let read = nodes.get(0, &format!("/kv/{key}?consistency=linearizable")).await;
        assert_eq!((read.status, read.json()), (200, json!({ "value": "kept" })), "{key}");
    }
    assert_eq!(nodes.put(0, "k0", "new").await.expect("an answer").status, 200);
}

#[tokio::test]
async fn without_a_majority_a_leader_neither_leads_nor_follows_and_refuses_in_time() {
    let (nodes, n) = without_a_majority(true).await;
    let nothing = async || [nodes.is(n, "primary").await, nodes.is(n, "replica").await] == [503, 503];
    eventually("it neither leads nor follows", nothing).await;
    let health = nodes.health(n).await;
    assert_eq!((health.status, health.json()["status"].as_str()), (503, Some("down")), "{health:?}");
    check_refused(&nodes, n).await;
}

#[tokio::test]
async fn without_a_majority_a_follower_refuses_in_time() {
    let (nodes, n) = without_a_majority(false).await;
    check_refused(&nodes, n).await;
}

/// One node, which led or followed before the two others were killed, and which has `kept` under `k`.
async fn without_a_majority(leads: bool) -> (Nodes, usize) {
    let mut nodes = Nodes::start().await;
    assert_eq!(nodes.put(0, "k", "kept").await.expect("an answer").status, 200);
    let leader = nodes.settled().await;
    let stays = if leads { leader } else { (leader + 1) % 3 };
    let path = "/kv/k?consistency=eventual";
    eventually("the one that stays has it", async || nodes.get(stays, path).await.status == 200).await;
    for n in (0..3).filter(|n| *n != stays) {
        nodes.kill(n);
    }
    (nodes, stays)
}

/// Reads and writes are refused before their deadline, an eventual read is answered.
async fn check_refused(nodes: &Nodes, n: usize) {
    // The configuration's reads are by the lease, which may hold for the first moments.
    for (query, holds) in [("", true), ("?consistency=linearizable", false), ("?consistency=lease", true)] {
        refused(async || nodes.get(n, &format!("/kv/k{query}")).await, holds).await;
    }
    refused(async || nodes.put(n, "k", "new").await.expect("an answer"), false).await;
    let read = nodes.get(n, "/kv/k?consistency=eventual").await;
    assert_eq!((read.status, read.json()), (200, json!({ "value": "kept" })));
}

/// Every answer comes in time, and sooner or later it is that nothing was done. Before, it may be that this is not
/// known: who is asked at the moment the deadline passes cannot say.
async fn refused(ask: impl AsyncFn() -> Answer, lease: bool) {
    let refused = async || {
        let begun = Instant::now();
        let answer = ask().await;
        assert!(begun.elapsed() < ANSWERED_WITHIN, "{:?}: {answer:?}", begun.elapsed());
        let executed = answer.json()["executed"].as_str().map(str::to_owned);
        match (answer.status, executed.as_deref(), answer.header("retry-after")) {
            (503, Some("no"), Some("1")) => Ok(()),
            (504, Some("unknown"), None) => Err(answer),
            (200, None, None) if lease => Err(answer),
            _ => panic!("{answer:?}"),
        }
    };
    eventually_within(WITHIN * 2, "nobody can answer, and that is said", refused).await;
}
