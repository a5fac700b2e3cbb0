//! Three nodes on one machine, with nothing but each other.

use std::collections::BTreeMap;

use convoke_testing::eventually_within;
use futures_util::future::join_all;
use reqwest::Method;
use tempfile::TempDir;

use super::process::{Answer, PATIENCE, Ports, Process, agreed};

struct Three {
    nodes: Vec<Process>,
    folder: TempDir,
    _ports: Ports,
}

impl Three {
    /// As three terminals start them.
    async fn start() -> Self {
        let (folder, ports) = (TempDir::new().unwrap(), Ports::claim());
        let node = |n: u16| {
            let (port, name) = (ports.first + n, format!("node{n}"));
            let arguments = ["--cluster", "--port", &port.to_string(), "--node-id", &name];
            Process::start(folder.path(), &name, port, &arguments)
        };
        let nodes: Vec<_> = (0..3).map(node).collect();
        for node in &nodes {
            node.ready().await;
        }
        Self { nodes, folder, _ports: ports }
    }

    fn all(&self) -> Vec<&Process> {
        self.nodes.iter().collect()
    }

    fn without(&self, gone: usize) -> Vec<&Process> {
        self.nodes.iter().enumerate().filter(|(n, _)| *n != gone).map(|(_, node)| node).collect()
    }
}

/// The leaders that answered. A machine that is busy may change them at any time: what is promised is that a term has one,
/// and that neither terms nor indexes go back.
#[derive(Default)]
struct Leaders {
    names: BTreeMap<u64, String>,
    index: u64,
}

impl Leaders {
    /// One that answered now.
    fn answered(&mut self, answer: &Answer, name: &str) {
        let (term, index) = (answer.number("raft-term"), answer.number("raft-index"));
        let led = self.names.entry(term).or_insert_with(|| name.to_owned());
        assert_eq!(led, name, "one leads in a term: {answer:?}");
        assert_eq!(self.names.last_key_value().map(|(last, _)| *last), Some(term), "no term comes back");
        assert!(index >= self.index, "it never goes back: {answer:?}");
        self.index = index;
    }
}

#[tokio::test]
async fn the_leader_numbers_shipments_whichever_node_is_asked_and_every_node_has_the_orders() {
    let three = Three::start().await;
    agreed(&three.all(), 0).await;
    let first = three.nodes[0].place().await;
    let second = three.nodes[1].place().await;
    let mut leaders = Leaders::default();
    for node in &three.nodes {
        assert_eq!(node.get(&format!("/orders/{first}")).await.status, 200, "on {}", node.name);
    }
    let asked = [(0, &first, 1), (1, &first, 1), (2, &first, 1), (2, &second, 2), (0, &second, 2)];
    for (n, order, number) in asked {
        let answer = three.nodes[n].number(order).await;
        assert_eq!((answer.status, &answer.body["number"]), (200, &number.into()), "{n}: {answer:?}");
        leaders.answered(&answer, answer.body["handledBy"].as_str().unwrap());
    }
    let unknown = three.nodes[0].number(&uuid::Uuid::now_v7().to_string()).await;
    assert_eq!(unknown.status, 404, "{unknown:?}");
    assert!(unknown.number("raft-term") > 0, "a refusal of the leader says so too");
}

#[tokio::test]
async fn the_leader_alone_tells_the_last_number_and_the_others_tell_where_it_is() {
    let three = Three::start().await;
    let order = three.nodes[0].place().await;
    let given = three.nodes[1].number(&order).await;
    assert_eq!(given.status, 200, "{given:?}");
    let agree = async || {
        let last = join_all(three.nodes.iter().map(|node| node.get("/shipping/last"))).await;
        let leads = last.iter().position(|answer| answer.status == 200);
        let leader = leads.map(|n| three.nodes[n].url.as_str());
        let fits = last.iter().enumerate().all(|(n, answer)| match leads == Some(n) {
            true => answer.body["number"] == 1 && answer.number("raft-term") > 0,
            false => {
                assert_eq!((answer.status, &answer.body["code"]), (503, &"not-leader".into()), "{answer:?}");
                answer.body["leader"].as_str() == leader
            }
        });
        if leads.is_some() && fits { Ok(()) } else { Err(last) }
    };
    eventually_within(PATIENCE, "one tells it, and two tell who that is", agree).await;
}

#[tokio::test]
async fn one_node_reports_and_one_does_the_job_of_the_night() {
    let three = Three::start().await;
    three.nodes[0].place().await;
    let reported = async || {
        let (leader, term) = agreed(&three.all(), 0).await;
        let report = three.nodes[1].get("/report").await;
        let by = (&report.body["node"], &report.body["term"]);
        if by == (&three.nodes[leader].name.clone().into(), &term.into()) { Ok(()) } else { Err(report) }
    };
    eventually_within(PATIENCE, "the leader reports", reported).await;
    let nights = three.nodes.iter().map(|node| node.try_ask(Method::POST, "/jobs/nightly", None));
    let mut fences = Vec::new();
    for night in join_all(nights).await {
        let night = night.expect("an answer");
        match night.status {
            200 => {
                assert_eq!(night.body["orders"], 1);
                fences.push(night.body["fence"].as_u64().unwrap());
            }
            _ => assert_eq!((night.status, &night.body["code"]), (409, &"orders.nightly-held".into())),
        }
    }
    let done = fences.len();
    fences.sort_unstable();
    fences.dedup();
    assert!(done == fences.len() && done > 0, "somebody did it, each under a fence of its own: {fences:?}");
    let again = three.nodes[2].post("/jobs/nightly").await;
    assert!(again.body["fence"].as_u64() > fences.last().copied(), "{again:?}");
}

#[tokio::test]
async fn a_leader_that_is_killed_or_stopped_is_followed_by_another_and_no_number_is_given_twice() {
    let mut three = Three::start().await;
    let (first, _) = agreed(&three.all(), 0).await;
    assert_eq!(number(&three.nodes[0]).await, 1);
    three.nodes[first].kill();
    // No agreement is waited for: the command itself waits until somebody leads.
    let rest = three.without(first);
    assert_eq!(number(rest[0]).await, 2);
    let (_, term) = agreed(&rest, 1).await;
    let reported = eventually_within(PATIENCE, "the new leader reports", async || {
        let report = rest[1].get("/report").await.body;
        if report["term"].as_u64() >= Some(term) { Ok(()) } else { Err(report) }
    });
    reported.await;
    let folder = three.folder.path().to_owned();
    three.nodes[first].start_again(&folder);
    three.nodes[first].ready().await;
    assert_eq!(number(&three.nodes[first]).await, 3, "it is back, and knows who leads");

    let (second, before) = agreed(&three.all(), term - 1).await;
    assert!(three.nodes[second].stop().await.success());
    let rest = three.without(second);
    assert_eq!(number(rest[0]).await, 4);
    agreed(&rest, before).await;
}

/// Places an order on this node and asks it for the order's number.
async fn number(node: &Process) -> u64 {
    let given = node.number(&node.place().await).await;
    assert_eq!(given.status, 200, "{given:?}");
    given.body["number"].as_u64().unwrap()
}
