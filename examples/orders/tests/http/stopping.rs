use std::time::Duration;

use reqwest::Method;
use tokio::time::{Instant, timeout};

use crate::client::{Nodes, order, read};

#[tokio::test]
async fn nodes_that_stop_answer_what_they_took_and_nothing_more() {
    let nodes = Nodes::start().await;
    nodes.place(0).await;
    let requests: Vec<_> = (0..30)
        .map(|n| tokio::spawn(nodes.request(n % 3, Method::POST, "/orders").json(&order()).send()))
        .collect();
    let address = nodes.demo.addresses()[0];
    let begun = Instant::now();
    let stopped = timeout(Duration::from_secs(10), nodes.demo.run_until(std::future::ready(()))).await;
    stopped.expect("it stops within ten seconds").expect("it stops in order");
    assert!(begun.elapsed() < Duration::from_secs(10));
    for request in requests {
        // Who came too late has no connection; who had one has an answer.
        if let Ok(response) = request.await.expect("the client runs on") {
            let answer = read(response).await;
            assert!(matches!(answer.status, 201 | 503), "{answer:?}");
        }
    }
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nobody listens any more");
}
