use std::{fs, path::PathBuf, time::Duration};

use super::{Config, Durability, Timing};
use crate::{Consistency, Error};

const BY_NUMBERS: &str = r#"
[cluster]
node_id = 1
listen_address = "0.0.0.0:9081"
initial_cluster = [
    { id = 1, address = "0.0.0.0:9081", role = 1, status = 2 },
    { id = 2, address = "0.0.0.0:9082", role = 1, status = 2 },
    { id = 3, address = "0.0.0.0:9083", role = 1, status = 2 },
]

[raft.read_consistency]
default_policy = "LeaseRead"
lease_duration_ms = 500

[raft.persistence]
strategy = "MemFirst"
flush_policy = { Batch = { threshold = 100, interval_ms = 20 } }
"#;

const BY_ENDPOINTS: &str = r#"
cluster:
  local_node_endpoint: "http://localhost:5001"
  members: ["http://localhost:5000", "http://localhost:5002"]
  election_timeout: "150ms"
  heartbeat_interval: "50ms"
  persistent_state_path: "./raft-state"
  enable_http_forwarder: false
  forward_timeout: 30s
"#;

fn read(name: &str, text: &str) -> Result<Config, Error> {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join(name);
    fs::write(&path, text).expect("it can be written");
    Config::from_file(path)
}

fn of_variables(variables: &[(&str, &str)]) -> Result<Config, Error> {
    let variables = variables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    Config::from_sources(None, variables)
}

#[track_caller]
fn check_wrong(read: Result<Config, Error>, expected: &[&str]) {
    let text = read.expect_err("it is wrong").to_string();
    for expected in expected {
        assert!(text.contains(expected), "{text}\nhas no {expected:?}");
    }
}

#[test]
fn members_by_their_numbers_are_read_from_toml() {
    let config = read("n1.toml", BY_NUMBERS).expect("it is fine");
    assert_eq!((config.node_id, &*config.listen), (Some(1), "0.0.0.0:9081"));
    let addresses: Vec<_> =
        config.founders.iter().map(|(id, member)| (*id, &*member.name, &*member.raft)).collect();
    assert_eq!(addresses, [(1, "n1", "0.0.0.0:9081"), (2, "n2", "0.0.0.0:9082"), (3, "n3", "0.0.0.0:9083")]);
    assert_eq!(config.consistency, Consistency::Lease);
    assert_eq!(config.lease, Some(Duration::from_millis(500)));
    let batched = Durability::Batched { threshold: 100, interval: Duration::from_millis(20) };
    assert_eq!(config.durability, batched);
    assert_eq!(config.timing, Timing::DEFAULT);
}

#[test]
fn members_by_their_endpoints_are_read_from_yaml_and_numbered_alike_on_each() {
    let config = read("cluster.yaml", BY_ENDPOINTS).expect("it is fine");
    assert_eq!(config.node_id, Some(2));
    let members: Vec<_> =
        config.founders.values().map(|member| (&*member.raft, member.http.as_deref())).collect();
    assert_eq!(members[0], ("localhost:5000", Some("http://localhost:5000")));
    assert_eq!((members.len(), &*config.listen), (3, "localhost:5001"));
    assert_eq!(config.http.as_deref(), Some("http://localhost:5001"));
    assert!(config.upgraded, "they meet at their HTTP servers");
    assert_eq!(config.timing.heartbeat, Duration::from_millis(50));
    assert_eq!(config.timing.election, (Duration::from_millis(150), Duration::from_millis(240)));
    assert_eq!(config.path, Some(PathBuf::from("./raft-state")));
    assert_eq!((config.forward, config.forward_timeout), (false, Duration::from_secs(30)));
}

#[test]
fn a_path_without_an_ending_is_the_file_beside_it() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    fs::write(folder.path().join("n1.toml"), BY_NUMBERS).expect("it can be written");
    assert_eq!(Config::from_file(folder.path().join("n1")).expect("it is found").node_id, Some(1));
    check_wrong(Config::from_file(folder.path().join("n2")), &["n2 cannot be read"]);
}

#[test]
fn variables_are_enough_in_either_spelling() {
    let config = of_variables(&[
        ("Cluster__LocalNodeEndpoint", "http://node0:5000"),
        ("Cluster__Members__0", "http://node1:5000"),
        ("Cluster__Members__1", "http://node2:5000"),
        ("Cluster__ElectionTimeout", "00:00:00.150"),
        ("CONVOKE_CLUSTER__HEARTBEAT_INTERVAL", "40ms"),
        ("CONVOKE_NAMESPACE", "none of ours"),
        ("PATH", "none of ours"),
    ]);
    let config = config.expect("it is fine");
    assert_eq!((config.node_id, config.founders.len()), (Some(1), 3));
    assert_eq!(config.timing.heartbeat, Duration::from_millis(40));
    let joining = of_variables(&[
        ("CONVOKE_CLUSTER__LISTEN_ADDRESS", "10.0.0.4:9081"),
        ("CONVOKE_CLUSTER__JOIN", "10.0.0.1:9081, 10.0.0.2:9081"),
    ]);
    assert_eq!(joining.expect("it is fine").join, ["10.0.0.1:9081", "10.0.0.2:9081"]);
}

#[test]
fn variables_override_the_file() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("n1.toml");
    fs::write(&path, BY_NUMBERS).expect("it can be written");
    let variables = [("CONVOKE_CLUSTER__NODE_ID".to_owned(), "3".to_owned())];
    let config = Config::from_sources(Some(&path), variables).expect("it is fine");
    assert_eq!(config.node_id, Some(3));
}

#[test]
fn a_key_that_nobody_knows_and_a_value_of_the_wrong_kind_are_named() {
    let unknown = BY_NUMBERS.replace("listen_address", "listen_adress");
    check_wrong(read("n1.toml", &unknown), &["`cluster.listen_adress`", "listen_address"]);
    let wrong = BY_NUMBERS.replace("node_id = 1", "node_id = \"first\"");
    check_wrong(read("n1.toml", &wrong), &["`cluster.node_id`", "first"]);
    check_wrong(read("n1.toml", "cluster = ["), &["n1.toml cannot be read"]);
    check_wrong(read("n1.yaml", "cluster: ["), &["n1.yaml cannot be read"]);
}

#[test]
fn what_contradicts_itself_is_said_all_at_once() {
    let text = r#"
        [cluster]
        node_id = 7
        preset = "moon"
        members = ["n2"]
        join = ["nowhere"]
        initial_cluster = [{ id = 1, address = "a:1" }, { id = 1, address = "b:1" }]
    "#;
    check_wrong(
        read("n1.toml", text),
        &[
            "both `initial_cluster` and `members`",
            "has the id 1 twice",
            "without `local_node_endpoint`",
            "`preset` is \"moon\"",
            "`listen_address` is \"\"",
            "`join` is \"nowhere\"",
            "`node_id` is 7",
        ],
    );
}

#[test]
fn how_entries_are_kept_follows_strategy_and_flush() {
    let section = |persistence: &str| {
        let head = BY_NUMBERS.split("[raft.persistence]").next().expect("the part before");
        read("n1.toml", &format!("{head}[raft.persistence]\n{persistence}")).expect("it is fine").durability
    };
    assert_eq!(section(""), Durability::Sync);
    assert_eq!(section("strategy = \"MemFirst\""), Durability::BATCHED);
    assert_eq!(section("strategy = \"DiskFirst\""), Durability::Sync);
    assert_eq!(section("strategy = \"MemFirst\"\nflush_policy = \"Immediate\""), Durability::Sync);
    let batch = "flush_policy = { Batch = { threshold = 5, interval_ms = 7 } }";
    assert_eq!(section(&format!("strategy = \"DiskFirst\"\n{batch}")), Durability::Sync);
    let batched = Durability::Batched { threshold: 5, interval: Duration::from_millis(7) };
    assert_eq!(section(batch), batched);
}
