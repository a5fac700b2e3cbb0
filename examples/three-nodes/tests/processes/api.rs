//! What the routes answer, on every node.
use convoke_testing::eventually_within;
use futures_util::future::join_all;
use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::nodes::{Nodes, WITHIN, answer};

#[tokio::test]
async fn what_is_written_on_any_node_is_read_from_every_node_in_each_consistency() {
    let nodes = Nodes::start().await;
    for writer in 0..3 {
        let (key, value) = (format!("written-on/{writer}"), format!("by {writer}, ü"));
        let written = nodes.put(writer, &key, &value).await.expect("an answer");
        assert_eq!(written.status, 200, "{written:?}");
        assert!(written.json()["version"].as_u64() > Some(0), "{written:?}");
        for reader in 0..3 {
            for query in ["", "?consistency=linearizable", "?consistency=lease"] {
                let read = nodes.get(reader, &format!("/kv/{key}{query}")).await;
                assert_eq!(
                    (read.status, read.json()),
                    (200, json!({ "value": value })),
                    "{reader}{query}: {read:?}"
                );
                assert_eq!(read.header("x-served-by"), Some(&*(reader + 1).to_string()));
            }
            let path = format!("/kv/{key}?consistency=eventual");
            convoke_testing::eventually("this node has it as well", async || {
                let read = nodes.get(reader, &path).await;
                if read.status == 200 && read.json() == json!({ "value": value }) {
                    Ok(())
                } else {
                    Err(read)
                }
            })
            .await;
        }
    }
    let deleted = answer(nodes.request(1, Method::DELETE, "/kv/written-on%2F0")).await.expect("an answer");
    assert_eq!((deleted.status, &*deleted.text), (204, ""));
    for (n, method) in [(2, Method::GET), (0, Method::DELETE)] {
        let gone = answer(nodes.request(n, method, "/kv/written-on/0")).await.expect("an answer");
        assert_eq!((gone.status, gone.json()["code"].as_str()), (404, Some("kv.not-found")), "{gone:?}");
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_answered_with_a_problem() {
    let nodes = Nodes::start().await;
    let post = |body: &str| {
        nodes.request(0, Method::POST, "/kv").header("content-type", "application/json").body(body.to_owned())
    };
    let get = |path: &str| nodes.request(0, Method::GET, path);
    let long = |bytes: usize| "x".repeat(bytes);
    let pair = |key: &str, value: &str| json!({ "key": key, "value": value }).to_string();
    let cases: Vec<(RequestBuilder, u16, &str)> = vec![
        (post("{"), 400, "EOF"),
        (post(r#"{"key": "a"}"#), 400, "value"),
        (post(r#"{"key": "a", "value": 1}"#), 400, "string"),
        (post(r#"{"key": "a", "value": "b", "tll": 1}"#), 400, "tll"),
        (post(r#"{"key": "", "value": "b"}"#), 400, "at least one character"),
        (nodes.request(0, Method::POST, "/kv").body(pair("a", "b")), 415, "application/json"),
        (post(&pair("a", &long(2 << 20))), 413, "1048576"),
        (post(&pair(&long(5000), "b")), 413, "4096"),
        (post(&pair("a", &long((1 << 20) - 100))), 413, "a value of"),
        (get("/kv/a?consistency=strong"), 400, "linearizable, lease or eventual"),
        (get("/kv/a?consistancy=lease"), 400, "consistancy"),
        (get("/kv/%ff"), 400, "UTF-8"),
        (get("/nowhere"), 404, "/nowhere"),
        (nodes.request(0, Method::PUT, "/kv"), 405, "PUT"),
    ];
    for (request, status, part) in cases {
        let shown = format!("{request:?}");
        let refused = answer(request).await.expect("an answer");
        assert_eq!(refused.status, status, "{shown}: {refused:?}");
        assert!(refused.text.contains(part), "{shown}: no {part:?} in {}", refused.text);
        assert_eq!(refused.header("content-type"), Some("application/problem+json"), "{shown}");
        assert_eq!(refused.json()["status"], status, "{shown}");
    }
    assert_eq!(nodes.get(0, "/kv/a").await.status, 404, "nothing was written");
}

#[tokio::test]
async fn one_node_is_primary_the_others_are_replicas_and_health_says_who() {
    let nodes = Nodes::start().await;
    // Another one may come to lead while they are asked.
    let leads = eventually_within(WITHIN, "all say the same of who leads", async || {
        let before = nodes.settled().await;
        let healths = join_all((0..3).map(|n| nodes.health(n))).await;
        if nodes.settled().await == before { Ok((before, healths)) } else { Err(healths) }
    });
    let (leads, healths) = leads.await;
    for (n, health) in healths.into_iter().enumerate() {
        let (role, leader) = (if n == leads { "leader" } else { "follower" }, &health.json()["leader"]);
        assert_eq!(health.status, 200, "{health:?}");
        assert_eq!(health.json()["node"], n + 1, "{health:?}");
        assert_eq!(health.json()["role"], role, "{health:?}");
        let members = health.json()["members"].as_array().expect("a list").clone();
        let leading: Vec<_> = members.iter().filter(|member| member["leads"] == true).collect();
        assert_eq!((members.len(), leading.len()), (3, 1), "{health:?}");
        assert_eq!((&leading[0]["node"], &leading[0]["name"]), (&json!(leads + 1), leader), "{health:?}");
    }
}
