//! Dependencies point one way. The manifests say so, and this reads them.
use std::{collections::BTreeSet, fs, path::Path};

/// The project's own crates that a crate depends on, tests aside.
fn own_dependencies(manifest: &str) -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = fs::read_to_string(root.join(manifest)).expect("the crate has a manifest");
    let mut section = "";
    let mut found = BTreeSet::new();
    for line in text.lines() {
        if line.starts_with('[') {
            section = line;
        } else if section == "[dependencies]" && line.starts_with("convoke") {
            found.extend(line.split(['.', ' ', '=']).next().map(str::to_owned));
        }
    }
    found
}

#[track_caller]
fn check(manifest: &str, allowed: &[&str]) {
    let allowed = allowed.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(own_dependencies(manifest), allowed, "{manifest}");
}

#[test]
fn core_and_macros_know_nobody() {
    check("crates/convoke-core/Cargo.toml", &[]);
    check("macros/convoke-macros/Cargo.toml", &[]);
}

#[test]
fn backends_know_core_and_not_each_other() {
    for backend in ["nats", "redis", "axum", "cluster", "testing"] {
        check(&format!("crates/convoke-{backend}/Cargo.toml"), &["convoke-core"]);
    }
}

#[test]
fn the_facade_knows_the_backends() {
    let backends = [
        "convoke-axum",
        "convoke-cluster",
        "convoke-core",
        "convoke-macros",
        "convoke-nats",
        "convoke-redis",
    ];
    check("crates/convoke/Cargo.toml", &backends);
}

#[test]
fn the_command_line_knows_core_and_the_brokers() {
    check("crates/convoke-cli/Cargo.toml", &["convoke-core", "convoke-nats", "convoke-redis"]);
}
