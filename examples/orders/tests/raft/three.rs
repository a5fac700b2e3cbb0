//! Three nodes on one machine, with nothing but each other.

use reqwest::Method;
use tempfile::TempDir;

use super::process::{PATIENCE, Process, agreed, ports};
use convoke_testing::eventually_within;

struct Three {
    folder: TempDir,
    nodes: Vec<Process>,
}

impl Three {
    /// As three terminals start them.
    async fn start() -> Self {
        let (folder, first) = (TempDir::new().unwrap(), ports());
        let node = |n: u16| {
            let (port, name) = (first + n, format!("node{n}"));
            let arguments = ["--cluster", "--port", &port.to_string(), "--node-id", &name];
            Process::start(folder.path(), &name, port, &arguments)
        };
        let nodes: Vec<_> = (0..3).map(node).collect();
        for node in &nodes {
            node.ready().await;
        }
        Self { folder, nodes }
    }

    fn all(&self) -> Vec<&Process> {
        self.nodes.iter().collect()
    }

    fn without(&self, gone: usize) -> Vec<&Process> {
        self.nodes.iter().enumerate().filter(|(n, _)| *n != gone).map(|(_, node)| node).collect()
    }
}

#[tokio::test]
async fn the_leader_numbers_shipments_whichever_node_is_asked_and_every_node_has_the_orders() {
    let three = Three::start().await;
    let (leader, term) = agreed(&three.all(), 0).await;
    let first = three.nodes[0].place().await;
    let second = three.nodes[1].place().await;
    let mut index = 0;
    for node in &three.nodes {
        assert_eq!(node.get(&format!("/orders/{first}")).await.status, 200, "on {}", node.name);
        let answer = node.post(&format!("/orders/{first}/shipping-number")).await;
        assert_eq!((answer.status, &answer.body["number"]), (200, &1.into()), "{answer:?}");
        assert_eq!(answer.body["handledBy"], *three.nodes[leader].name);
        assert_eq!(answer.number("raft-term"), term);
        assert!(answer.number("raft-index") >= index, "it never goes back");
        index = answer.number("raft-index");
    }
    let answer = three.nodes[2].post(&format!("/orders/{second}/shipping-number")).await;
    assert_eq!(answer.body["number"], 2);
    let unknown = three.nodes[0].post(&format!("/orders/{}/shipping-number", uuid::Uuid::now_v7())).await;
    assert_eq!(
        (unknown.status, unknown.number("raft-term")),
        (404, term),
        "a refusal of the leader says so too"
    );

    for (n, node) in three.nodes.iter().enumerate() {
        let last = node.get("/shipping/last").await;
        if n == leader {
            assert_eq!((last.status, &last.body["number"]), (200, &2.into()));
            assert_eq!(last.number("raft-term"), term);
        } else {
            assert_eq!((last.status, &last.body["code"]), (503, &"not-leader".into()));
            assert_eq!(last.body["leader"], *three.nodes[leader].url);
        }
    }
}

#[tokio::test]
async fn one_node_reports_and_one_does_the_job_of_the_night() {
    let three = Three::start().await;
    let (leader, term) = agreed(&three.all(), 0).await;
    three.nodes[0].place().await;
    let report = eventually_within(PATIENCE, "the leader reports", async || {
        let report = three.nodes[1].get("/report").await;
        if report.status == 200 { Ok(report.body) } else { Err(report) }
    });
    let report = report.await;
    assert_eq!((&report["node"], &report["term"]), (&three.nodes[leader].name.clone().into(), &term.into()));
    let nights = three.nodes.iter().map(|node| node.try_ask(Method::POST, "/jobs/nightly", None));
    let nights = futures_util::future::join_all(nights).await;
    let mut fences = Vec::new();
    for night in nights.into_iter().flatten() {
        match night.status {
            200 => {
                assert_eq!(night.body["orders"], 1);
                fences.push(night.body["fence"].as_u64().unwrap());
            }
            _ => assert_eq!((night.status, &night.body["code"]), (409, &"orders.nightly-held".into())),
        }
    }
    fences.sort_unstable();
    fences.dedup();
    assert!(!fences.is_empty(), "somebody did it");
    let again = three.nodes[2].post("/jobs/nightly").await;
    assert!(again.body["fence"].as_u64() > fences.last().copied(), "{again:?}");
}

#[tokio::test]
async fn a_leader_that_is_killed_or_stopped_is_followed_by_another_and_no_number_is_given_twice() {
    let mut three = Three::start().await;
    let (first, term) = agreed(&three.all(), 0).await;
    let number = async |node: &Process| {
        let order = node.place().await;
        let path = format!("/orders/{order}/shipping-number");
        let given = eventually_within(PATIENCE, "a number is given", async || {
            let answer = node.post(&path).await;
            if answer.status == 200 { Ok(answer) } else { Err(answer) }
        });
        let given = given.await;
        (given.body["number"].as_u64().unwrap(), given.number("raft-term"))
    };
    assert_eq!(number(&three.nodes[0]).await, (1, term));
    three.nodes[first].kill();
    let rest = three.without(first);
    let (_, second_term) = agreed(&rest, term).await;
    assert_eq!(number(rest[0]).await, (2, second_term));
    let reported = eventually_within(PATIENCE, "the new leader reports", async || {
        let report = rest[1].get("/report").await.body;
        if report["term"] == second_term { Ok(()) } else { Err(report) }
    });
    reported.await;
    let folder = three.folder.path().to_owned();
    three.nodes[first].start_again(&folder);
    three.nodes[first].ready().await;
    assert_eq!(number(&three.nodes[first]).await, (3, second_term), "it is back, and follows");

    let (second, _) = agreed(&three.all(), term).await;
    assert!(three.nodes[second].stop().await.success());
    let rest = three.without(second);
    let (_, third_term) = agreed(&rest, second_term).await;
    assert_eq!(number(rest[0]).await, (4, third_term));
}
