use std::process::Command;

use crate::nodes::Nodes;

/// The script that drives a cluster with `curl` alone, on the ports of this test.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/curl.sh");

#[tokio::test]
async fn curl_sees_what_the_readme_says() {
    let nodes = Nodes::start().await;
    let apis: Vec<_> = nodes.nodes.iter().map(|node| node.api.as_str()).collect();
    let healths: Vec<_> = nodes.nodes.iter().map(|node| node.health.as_str()).collect();
    let mut script = Command::new(SCRIPT);
    script.env("APIS", apis.join(" ")).env("HEALTHS", healths.join(" "));
    let output =
        tokio::task::spawn_blocking(move || script.output()).await.expect("no panic").expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.trim_end().ends_with("all is as the README says"), "{said}");
}
