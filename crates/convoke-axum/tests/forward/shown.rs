//! What HTTP shows of a cluster.

use axum::body::Bytes;
use convoke::CoordinatorHealth;
use convoke_testing::eventually;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::nodes::{Served, pair};

async fn ask(node: &Served, method: &str, path: &str, body: &'static str) -> (StatusCode, Value) {
    let stream = TcpStream::connect(node.address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::builder().method(method).uri(path).header("host", "n");
    let request =
        request.header("content-type", "application/json").body(Full::new(Bytes::from(body))).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

#[tokio::test]
async fn health_says_who_leads_and_what_runs_there() {
    let (elections, n1, n2) = pair().await;
    eventually("the singleton runs", || async {
        let (_, health) = ask(&n2, "GET", "/health", "").await;
        if health["cluster"]["singletons"][0]["state"] == "running" { Ok(()) } else { Err(health) }
    })
    .await;
    let (status, health) = ask(&n2, "GET", "/health", "").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!((&health["cluster"]["role"], &health["cluster"]["leader"]), (&"leader".into(), &"n2".into()));
    assert_eq!(
        (&health["cluster"]["term"], &health["cluster"]["singletons"][0]["name"]),
        (&1.into(), &"report".into())
    );
    let (_, health) = ask(&n1, "GET", "/health", "").await;
    assert_eq!(
        (&health["cluster"]["role"], &health["cluster"]["leader"]),
        (&"follower".into(), &"n2".into())
    );
    assert_eq!(health["cluster"]["singletons"][0]["state"], "waiting");
    let lines = health["dependencies"].as_array().unwrap();
    let line = lines.iter().find(|line| line["name"] == "cluster").expect("the cluster is a dependency");
    assert_eq!(line["status"], "Healthy");
    elections.depose();
    let (_, health) = ask(&n1, "GET", "/health", "").await;
    assert_eq!(
        (&health["cluster"]["role"], &health["cluster"]["leader"]),
        (&"no-leader".into(), &Value::Null)
    );
}

#[tokio::test]
async fn a_node_whose_cluster_is_down_is_not_ready() {
    let (_elections, n1, _n2) = pair().await;
    assert_eq!(ask(&n1, "GET", "/readyz", "").await.0, StatusCode::OK);
    n1.member.feels(CoordinatorHealth::Down("no majority answers".to_owned()));
    let (status, problem) = ask(&n1, "GET", "/readyz", "").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(problem["detail"], "cluster: no majority answers");
    assert_eq!(ask(&n1, "GET", "/livez", "").await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_route_forwards_or_says_where_the_leader_is() {
    let (_elections, n1, n2) = pair().await;
    let (status, number) = ask(&n1, "POST", "/numbers", r#"{"of": "o-1"}"#).await;
    assert_eq!((status, &number["node"]), (StatusCode::OK, &"n2".into()));
    let (status, problem) = ask(&n1, "POST", "/reject", "{}").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!((&problem["code"], &problem["executed"]), (&"not-leader".into(), &"no".into()));
    assert_eq!(problem["leader"], format!("http://localhost:{}", n2.address.port()));
    assert_eq!(ask(&n2, "POST", "/reject", "{}").await.0, StatusCode::NO_CONTENT);
}
