use std::time::Duration;

use convoke::{Failed, TransportHealth};
use http::StatusCode;
use serde_json::json;

use super::app::{routes, start};
use super::client::get;
use super::scripted;

#[tokio::test]
async fn a_healthy_node_says_who_it_is_and_what_it_depends_on() {
    let (node, router) = start().await;
    node.ready(Duration::from_secs(5)).await.expect("nothing is missing");
    let answer = get(&router, "/health").await;
    assert_eq!((answer.status, answer.header("cache-control")), (StatusCode::OK, Some("no-store")));
    let expected = json!({
        "status": "Healthy", "node": "node1", "service": "orders", "version": "1.2.3", "stopping": false,
        "dependencies": [
            {"name": "in-process", "status": "Healthy", "needed": true},
            {"name": "in-process store", "status": "Healthy", "needed": true},
        ],
    });
    assert_eq!(answer.json(), expected);
    assert_eq!(get(&router, "/readyz").await.status, StatusCode::OK);
    assert_eq!(get(&router, "/livez").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_node_whose_broker_is_away_is_alive_and_not_ready_and_tells_no_password() {
    let down = "nats://ann:secret@10.1.2.3:4222 is not reachable: start it, or correct the URL";
    let (node, _) = scripted::start(|| Failed::Overloaded, TransportHealth::Down(down.to_owned())).await;
    let router = routes(node.mediator());
    let clean = "nats://***@10.1.2.3:4222 is not reachable: start it, or correct the URL";

    let health = get(&router, "/health").await;
    assert_eq!(health.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(health.json()["status"], "Unhealthy");
    let broker = json!({"name": "scripted", "status": "Unhealthy", "needed": true, "detail": clean});
    assert_eq!(health.json()["dependencies"][0], broker);
    assert_eq!(health.json()["dependencies"][1]["status"], "Healthy");

    let ready = get(&router, "/readyz").await;
    assert_eq!(ready.problem(503)["detail"], format!("scripted: {clean}"));
    assert_eq!(ready.header("retry-after"), Some("1"));
    assert_eq!(get(&router, "/livez").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_node_that_stopped_is_not_ready() {
    let (node, router) = start().await;
    node.stop().await;
    assert_eq!(get(&router, "/readyz").await.problem(503)["detail"], "stopping");
    assert_eq!(get(&router, "/health").await.json()["stopping"], true);
}
