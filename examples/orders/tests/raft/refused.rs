//! What cannot be a node of a cluster says so.

use convoke_testing::servers::free_port;

use super::process::command;

/// It ends with this code, and its complaint holds all of these.
#[track_caller]
fn check(arguments: &[&str], code: i32, expected: &[&str]) {
    let arguments: Vec<_> = arguments.iter().map(|&argument| argument.to_owned()).collect();
    let output = command(&arguments).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{complaint}");
    for part in expected {
        assert!(complaint.contains(part), "{arguments:?}: {part:?} is missing in: {complaint}");
    }
}

#[test]
fn a_node_without_port_or_id_is_refused() {
    check(&["--cluster", "--port", "5000"], 2, &["--node-id"]);
    check(&["--cluster", "--node-id", "node0"], 2, &["--port"]);
    check(&["--port", "5000", "--node-id", "node0"], 2, &["--cluster"]);
    check(&["--cluster", "--port", "0", "--node-id", "node0"], 2, &["port"]);
}

#[test]
fn a_node_that_is_not_among_its_peers_is_refused_with_what_to_give() {
    let port = free_port().unwrap().to_string();
    check(
        &["--cluster", "--port", &port, "--node-id", "mine"],
        1,
        &["`mine`", "node0, node1 and node2", "--peers"],
    );
    let peers = ["--peers", "a=127.0.0.1:6001:5001"];
    let node = ["node", "--cluster", "--listen", "127.0.0.1:0", "--node", "b"];
    check(&[&node[..], &peers].concat(), 1, &["`b` is not among its peers"]);
    check(&["node", "--cluster", "--listen", "127.0.0.1:0"], 1, &["needs its id", "--node"]);
}

#[test]
fn a_preset_that_nobody_knows_is_refused() {
    let port = free_port().unwrap().to_string();
    let node = ["--cluster", "--port", &port, "--node-id", "node0", "--cluster-preset", "slow"];
    check(&node, 1, &["`slow`", "lan-fast, default or wan"]);
}

#[test]
fn nodes_on_several_machines_need_a_secret() {
    let peers = "a=10.0.0.1:6001:5001,b=10.0.0.2:6001:5001";
    let node = ["node", "--cluster", "--listen", "127.0.0.1:0", "--node", "a", "--peers", peers];
    check(&node, 1, &["--cluster-secret", "openssl rand -hex 32"]);
    check(&[&node[..], &["--cluster-secret", "short"]].concat(), 1, &["at least 16 bytes"]);
}
