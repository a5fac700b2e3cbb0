use std::time::Duration;

use convoke_cluster::{Cluster, Config, ErrorKind, Member};

use crate::support::{Journal, Nodes, free_address};

#[tokio::test]
async fn a_wrong_configuration_starts_nothing_and_names_everything() {
    let config = Config::new("nowhere").lease(Duration::from_millis(1));
    let error = Cluster::start_with(config, Journal::default()).await.expect_err("it is wrong");
    assert_eq!(error.kind(), ErrorKind::Config);
    let text = error.to_string();
    for key in ["`listen_address`", "`initial_cluster`", "`lease_duration_ms`"] {
        assert!(text.contains(key), "{text}");
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let config = Config::new(&address).node_id(1).founder(1, Member::new("n1", &address));
    let error = Cluster::start_with(config, Journal::default()).await.expect_err("it is taken");
    assert!(error.to_string().contains(&address), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_disk_of_another_node_or_another_cluster_is_refused() {
    let mut nodes = Nodes::on_disk(1);
    nodes.start(1).await;
    nodes.kill(1);
    let address = free_address();
    let folder = nodes.folder(1).expect("it is on disk");
    let other = Config::new(&address).node_id(2).founder(2, Member::new("n2", &address)).persistent(&folder);
    let error = Cluster::start_with(other.clone(), Journal::default()).await.expect_err("it is node 1's");
    assert!(error.to_string().contains("is that of node 1"), "{error}");
    let error =
        Cluster::start_with(other.cluster("stock"), Journal::default()).await.expect_err("it is not ours");
    assert!(error.to_string().contains("\"convoke\""), "{error:?}");
}
