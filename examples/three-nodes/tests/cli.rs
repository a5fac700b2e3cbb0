//! The command line and the start: what is explained, and what is refused.
use std::{
    net::TcpListener,
    path::Path,
    process::{Command, Output, Stdio},
};

use convoke_testing::{eventually, servers::free_port};

const CONFIG: &str = include_str!("../config/n1.toml");

fn program(directory: &Path, arguments: &[&str]) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_three-nodes-embedded"));
    program.args(arguments).current_dir(directory);
    program
}

fn run(directory: &Path, arguments: &[&str]) -> Output {
    program(directory, arguments).output().expect("it runs")
}

/// It ends with this code, and its complaint holds all of these.
#[track_caller]
fn check_refused(directory: &Path, arguments: &[&str], code: i32, expected: &[&str]) {
    let output = run(directory, arguments);
    let complaint = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(code), "{complaint}");
    for part in expected {
        assert!(complaint.contains(part), "{arguments:?}: {part:?} is missing in: {complaint}");
    }
    assert!(code != 1 || complaint.starts_with("three-nodes-embedded: "), "{complaint}");
}

/// A directory with the configuration of node 1, changed so.
fn with_config(change: impl Fn(&str) -> String) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("n1.toml"), change(CONFIG)).expect("it can be written");
    directory
}

/// With a Raft port that is free.
fn on_a_free_port(config: &str) -> String {
    config.replace("0.0.0.0:9081", &format!("127.0.0.1:{}", free_port().expect("a free port")))
}

const FREE: [&str; 6] = ["--config-path", "n1", "--port", "0", "--health-port", "0"];

#[test]
fn help_explains_every_flag_with_its_variable() {
    let output = run(Path::new("."), &["--help"]);
    let help = String::from_utf8(output.stdout).expect("text");
    for (flag, variable) in [
        ("--config-path", "CONFIG_PATH"),
        ("--port", "PORT"),
        ("--health-port", "HEALTH_PORT"),
        ("--raft-port", "RAFT_PORT"),
        ("--host", "HOST"),
        ("--data-dir", "DATA_DIR"),
        ("--drain-delay", "DRAIN_DELAY"),
        ("--log", "RUST_LOG"),
        ("--log-format", "LOG_FORMAT"),
    ] {
        assert!(help.contains(&format!("{flag} <")), "{flag} is missing in:\n{help}");
        assert!(help.contains(&format!("[env: {variable}")), "{variable} is missing in:\n{help}");
    }
}

#[test]
fn a_flag_that_is_wrong_is_named() {
    let here = Path::new(".");
    check_refused(here, &[], 2, &["--config-path"]);
    check_refused(here, &["--config-path", "n1", "--prot", "8081"], 2, &["--prot"]);
    check_refused(here, &["--config-path", "n1", "--port", "many"], 2, &["--port", "many"]);
    check_refused(here, &["--config-path", "n1", "--drain-delay", "soon"], 2, &["soon", "500ms"]);
    check_refused(here, &["--config-path", "n1", "--log", "three=loud"], 1, &["three=loud", "info"]);
}

#[test]
fn a_configuration_that_is_missing_or_wrong_is_told_with_its_place() {
    let empty = tempfile::tempdir().expect("a directory");
    check_refused(empty.path(), &FREE, 1, &["--config-path n1", "cannot be read"]);
    let check = |from: &str, to: &str, expected: &[&str]| {
        let directory = with_config(|config| {
            assert!(config.contains(from), "{from} is in the file");
            config.replace(from, to)
        });
        check_refused(directory.path(), &FREE, 1, &[&["--config-path n1"], expected].concat());
    };
    check("node_id = 1", "node_id = 4", &["`node_id` is 4", "initial_cluster"]);
    check("node_id = 1", "nod_id = 1", &["nod_id"]);
    check("[cluster]", "[cluster", &["TOML"]);
    check("\"LeaseRead\"", "\"Strong\"", &["Strong", "LeaseRead"]);
    check("\"MemFirst\"", "\"Never\"", &["Never", "MemFirst"]);
    check("threshold = 100", "threshold = 0", &["threshold"]);
    check("lease_duration_ms = 500", "lease_duration_ms = 1", &["lease_duration_ms"]);
    check("\"0.0.0.0:9082\"", "\"nowhere\"", &["nowhere", "host:port"]);
}

#[test]
fn a_port_that_is_taken_is_told_with_what_chooses_another() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let directory = with_config(on_a_free_port);
    let check = |flags: &[&str], expected: &[&str]| {
        check_refused(directory.path(), flags, 1, &[&[&*port], expected].concat())
    };
    check(&["--config-path", "n1", "--port", &port, "--health-port", "0"], &["--port"]);
    check(&["--config-path", "n1", "--port", "0", "--health-port", &port], &["--health-port"]);
    check(&[&FREE[..], &["--raft-port", &port]].concat(), &["--raft-port"]);
}

#[tokio::test]
async fn a_data_directory_that_is_in_use_is_told() {
    let directory = with_config(on_a_free_port);
    let mut first = program(directory.path(), &FREE);
    let mut first = first.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
    eventually("it has begun", async || directory.path().join("db/1/log").is_dir()).await;
    let other = with_config(on_a_free_port);
    let data = directory.path().join("db/1").display().to_string();
    let arguments = [&FREE[..], &["--data-dir", &data]].concat();
    let refused = run(other.path(), &arguments);
    first.kill().expect("it is ours");
    first.wait().expect("it ends");
    let complaint = String::from_utf8(refused.stderr).expect("text");
    assert_eq!(refused.status.code(), Some(1), "{complaint}");
    assert!(complaint.contains("is locked") && complaint.contains(&data), "{complaint}");
}
