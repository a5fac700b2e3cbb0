//! The configurations in `docker/three-nodes`, with the real programs.
use std::{collections::BTreeMap, fmt::Write as _};

use convoke_testing::{
    eventually_within,
    servers::{Haproxy, Nginx},
};
use reqwest::{Client, Method};
use serde_json::json;

use crate::nodes::{Answer, Nodes, WITHIN, answer};

const HAPROXY: &str = include_str!("../../../../docker/three-nodes/haproxy.cfg");
const NGINX: &str = include_str!("../../../../docker/three-nodes/nginx.conf");
/// Reads that are spread over the followers.
const READS: usize = 30;

/// The configuration as it is shipped, with the ports of these nodes.
fn of_these(nodes: &Nodes, config: &str, listen: &str) -> String {
    let mut config = config.replace(&format!("{listen}8080"), &format!("{listen}{{port}}"));
    // By way of marks, as a free port may be one of those that are shipped.
    for n in 1..=3 {
        config = config
            .replace(&format!(":808{n}"), &format!(":api{n}"))
            .replace(&format!("1000{n}"), &format!("health{n}"));
    }
    for (n, node) in (1..).zip(&nodes.nodes) {
        let port = |url: &str| url.rsplit(':').next().expect("a port").to_owned();
        config = config
            .replace(&format!("api{n}"), &port(&node.api))
            .replace(&format!("health{n}"), &port(&node.health));
    }
    config
}

/// A caller behind a load balancer.
struct Caller {
    client: Client,
    url: String,
}

impl Caller {
    async fn put(&self, key: &str) -> reqwest::Result<Answer> {
        answer(self.client.post(format!("{}/kv", self.url)).json(&json!({ "key": key, "value": "v" }))).await
    }

    async fn get(&self, key: &str) -> reqwest::Result<Answer> {
        answer(self.client.request(Method::GET, format!("{}/kv/{key}", self.url))).await
    }

    /// Waits until writes are served by this node, and reads by all the others that are there.
    async fn routed(&self, leads: usize, follow: usize, log: impl Fn() -> String) {
        let routed = async || {
            let mut by: BTreeMap<String, usize> = BTreeMap::new();
            let mut wrong = String::new();
            let written = self.put("k").await;
            match &written {
                Ok(answer) if answer.status == 200 && served_by(answer) == (leads + 1).to_string() => {}
                other => write!(wrong, "{other:?}").expect("a string takes all"),
            }
            for _ in 0..READS {
                match self.get("k").await {
                    Ok(answer) if answer.status == 200 => *by.entry(served_by(&answer)).or_default() += 1,
                    other => write!(wrong, "{other:?}").expect("a string takes all"),
                }
            }
            let spread = by.len() == follow && by.values().all(|reads| *reads >= READS / 6);
            let right = wrong.is_empty() && spread && !by.contains_key(&(leads + 1).to_string());
            if right { Ok(()) } else { Err((wrong, by, log())) }
        };
        eventually_within(WITHIN, "writes go to the leader and reads to the others", routed).await;
    }
}

fn served_by(answer: &Answer) -> String {
    answer.header("x-served-by").unwrap_or("nobody").to_owned()
}

async fn goes_on(nodes: &mut Nodes, url: String, log: impl Fn() -> String) {
    let caller = Caller { client: nodes.client.clone(), url };
    let leads = nodes.settled().await;
    caller.routed(leads, 2, &log).await;
    nodes.kill(leads);
    // It has not noticed yet: whoever is asked waits for the new leader.
    let written = async || match caller.put("after").await {
        Ok(answer) if answer.status == 200 => Ok(()),
        other => Err((other, log())),
    };
    eventually_within(WITHIN, "writes go on", written).await;
    let next = nodes.settled_without(&[leads]).await;
    caller.routed(next, 1, &log).await;
    nodes.start_again(leads);
    let next = nodes.settled().await;
    caller.routed(next, 2, &log).await;
    let wrong = caller.get("nothing").await.expect("an answer");
    assert_eq!((wrong.status, wrong.json()["code"].as_str()), (404, Some("kv.not-found")), "{wrong:?}");
}

#[tokio::test]
async fn behind_haproxy_writes_go_to_the_leader_and_reads_to_the_others() {
    let test = "behind_haproxy_writes_go_to_the_leader_and_reads_to_the_others";
    let mut nodes = Nodes::start().await;
    let config = of_these(&nodes, HAPROXY, "bind :");
    let Some(proxy) = Haproxy::start_or_skip(test, &config).await else { return };
    goes_on(&mut nodes, proxy.url(), || proxy.log_tail()).await;
}

#[tokio::test]
async fn behind_nginx_writes_go_to_the_leader_and_reads_to_the_others() {
    let test = "behind_nginx_writes_go_to_the_leader_and_reads_to_the_others";
    let mut nodes = Nodes::start().await;
    let config = of_these(&nodes, NGINX, "listen ");
    let Some(proxy) = Nginx::start_or_skip(test, &config).await else { return };
    goes_on(&mut nodes, proxy.url(), || proxy.log_tail()).await;
}
