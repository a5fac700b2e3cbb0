//! The command line: what it explains, and what it refuses.
use std::{
    net::TcpListener,
    process::{Command, Output},
};

fn orders(arguments: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_orders"));
    program.args(arguments).env_remove("NATS_URL").env_remove("REDIS_URL");
    program.output().expect("it runs")
}

fn stdout(arguments: &[&str]) -> String {
    let output = orders(arguments);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// It ends with this code, and its complaint holds all of these.
#[track_caller]
fn check_refused(arguments: &[&str], code: i32, expected: &[&str]) {
    let output = orders(arguments);
    let complaint = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(code), "{complaint}");
    for part in expected {
        assert!(complaint.contains(part), "{arguments:?}: {part:?} is missing in: {complaint}");
    }
    if code == 1 {
        assert_eq!(complaint.trim_end().lines().count(), 1, "one sentence: {complaint}");
        assert!(complaint.starts_with("orders: "), "{complaint}");
    }
}

#[test]
fn help_explains_the_commands() {
    let help = stdout(&["--help"]);
    for part in
        ["three nodes run in this process", "demo", "node", "--log-format", "--log", "ORDERS_LOG_FORMAT"]
    {
        assert!(help.contains(part), "{part} is missing in:\n{help}");
    }
    assert!(stdout(&["demo", "--help"]).contains("--port"));
    assert_eq!(stdout(&["--version"]).trim(), concat!("orders ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn help_explains_every_flag_with_its_variable() {
    let help = stdout(&["node", "--help"]);
    for (flag, variable) in [
        ("--config", "ORDERS_CONFIG"),
        ("--listen", "ORDERS_LISTEN"),
        ("--node", "ORDERS_NODE"),
        ("--role", "ORDERS_ROLE"),
        ("--profile", "ORDERS_PROFILE"),
        ("--namespace", "ORDERS_NAMESPACE"),
        ("--nats", "NATS_URL"),
        ("--nats-creds", "ORDERS_NATS_CREDS"),
        ("--nats-user", "ORDERS_NATS_USER"),
        ("--nats-password", "ORDERS_NATS_PASSWORD"),
        ("--nats-ca", "ORDERS_NATS_CA"),
        ("--nats-replicas", "ORDERS_NATS_REPLICAS"),
        ("--redis", "REDIS_URL"),
        ("--redis-ca", "ORDERS_REDIS_CA"),
        ("--tls-cert", "ORDERS_TLS_CERT"),
        ("--tls-key", "ORDERS_TLS_KEY"),
        ("--bearer-token", "ORDERS_BEARER_TOKEN"),
        ("--bearer-token-file", "ORDERS_BEARER_TOKEN_FILE"),
        ("--rate-limit", "ORDERS_RATE_LIMIT"),
        ("--effects-url", "ORDERS_EFFECTS_URL"),
        ("--log-format", "ORDERS_LOG_FORMAT"),
        ("--log", "ORDERS_LOG"),
    ] {
        assert!(help.contains(&format!("{flag} <")), "{flag} is missing in:\n{help}");
        assert!(help.contains(&format!("[env: {variable}")), "{variable} is missing in:\n{help}");
    }
}

#[test]
fn a_flag_that_is_wrong_is_named() {
    check_refused(&["--prot", "5001"], 2, &["--prot"]);
    check_refused(&["serve"], 2, &["serve"]);
    check_refused(&["demo", "--port", "65535"], 2, &["--port", "65535"]);
    check_refused(&["node", "--role", "boss"], 2, &["boss", "api", "worker"]);
    check_refused(&["node", "--rate-limit", "many"], 2, &["--rate-limit", "many"]);
    check_refused(&["--log-format", "xml"], 2, &["xml", "text", "json"]);
}

#[test]
fn what_cannot_work_is_told_in_one_sentence() {
    let node = ["node", "--listen", "127.0.0.1:0"];
    let check = |flags: &[&str], expected: &[&str]| check_refused(&[&node, flags].concat(), 1, expected);
    check(&["--nats", "http://127.0.0.1"], &["http://127.0.0.1", "nats://127.0.0.1:4222"]);
    check(&["--redis", "http://127.0.0.1"], &["redis://"]);
    check(&["--nats-user", "orders"], &["--nats-password"]);
    check(&["--nats-creds", "missing.creds"], &["missing.creds"]);
    check(&["--tls-cert", "node.crt"], &["--tls-key"]);
    check(&["--bearer-token", "two words"], &["bearer token"]);
    check(&["--bearer-token-file", "missing.txt"], &["missing.txt"]);
    check(&["--rate-limit", "0"], &["rate limit"]);
    check(&["--effects-url", "ftp://x"], &["ftp://x", "http://"]);
    check(&["--config", "missing.toml"], &["missing.toml"]);
    check(&["--log", "orders=loud"], &["orders=loud", "info"]);
    check_refused(&["node", "--listen", "nowhere"], 1, &["nowhere", "--listen"]);
}

#[test]
fn a_port_that_is_taken_is_told_with_the_flag_that_chooses_another() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    check_refused(&["node", "--listen", &address], 1, &[&address, "--listen"]);
    let port = address.rsplit(':').next().expect("a port");
    check_refused(&["demo", "--port", port], 1, &[&address, "--port"]);
}

#[test]
fn describe_tells_what_the_service_handles_without_any_server() {
    let text = stdout(&["describe"]);
    for part in ["orders.place.v1", "one node, once per key", "Receiver::", "every node, from the beginning"]
    {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
    assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    let json = stdout(&["describe", "--output", "json", "--namespace", "eu"]);
    let description: convoke::Description = serde_json::from_str(&json).expect("a description");
    assert_eq!((description.service.as_str(), description.namespace.as_str()), ("orders", "eu"));
    let place =
        &description.handlers.iter().find(|one| one.name == "orders.place.v1").expect("it is handled");
    assert!(place.idempotent && place.at.contains("service.rs:"), "{place:?}");
}
