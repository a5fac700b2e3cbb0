//! The script that drives a cluster with `curl` alone, on the ports of this test.

use std::process::Command;

use convoke_testing::servers::NatsServer;

use super::process::Ports;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/curl.sh");

#[tokio::test]
async fn curl_sees_what_the_readme_says_of_a_cluster() {
    check(None).await;
}

#[tokio::test]
async fn curl_sees_it_of_a_cluster_beside_nats_as_well() {
    let Some(server) = NatsServer::start_or_skip("a cluster beside NATS, asked by curl").await else {
        return;
    };
    check(Some(server.url())).await;
}

async fn check(nats: Option<String>) {
    let ports = Ports::claim();
    let mut script = Command::new(SCRIPT);
    script
        .env("ORDERS_CLUSTER_PRESET", "wan")
        .env("PROGRAM", env!("CARGO_BIN_EXE_orders"))
        .env("PORT", ports.first.to_string());
    match nats {
        Some(url) => script.env("NATS_URL", url),
        None => script.env_remove("NATS_URL"),
    };
    let output = tokio::task::spawn_blocking(move || script.output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.trim_end().ends_with("all is as the README says"), "{said}");
}
