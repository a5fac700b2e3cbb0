//! What it explains, and what it refuses.

use crate::support::convoke;

#[test]
fn help_explains_the_commands_and_the_variables() {
    let help = convoke(&["--help"]).ended(0);
    help.said(&[
        "doctor",
        "describe",
        "--nats",
        "NATS_URL",
        "--redis",
        "REDIS_URL",
        "--output",
        "--namespace",
    ]);
    convoke(&["doctor", "--help"]).ended(0).said(&["--fsync-confirmed", "--profile <fast|ha|strict>"]);
    convoke(&["describe", "--help"]).ended(0).said(&["--run", "asyncapi", "orders describe --output json"]);
    let version = concat!("convoke ", env!("CARGO_PKG_VERSION"));
    assert_eq!(convoke(&["--version"]).ended(0).stdout.trim(), version);
}

#[test]
fn what_cannot_work_ends_with_two_and_is_named() {
    convoke(&[]).ended(2);
    convoke(&["doktor"]).ended(2).said(&["doktor"]);
    convoke(&["doctor", "--profile", "safe"]).ended(2).said(&["`fast`, `ha` or `strict`"]);
    convoke(&["doctor", "--output", "xml"]).ended(2).said(&["xml", "text", "json"]);
    convoke(&["doctor", "--nats", "http://x"]).ended(2).said(&["http://x", "nats://127.0.0.1:4222"]);
    convoke(&["doctor", "--redis", "http://x"]).ended(2).said(&["redis://"]);
    convoke(&["doctor", "--redis-ca", "x.pem"]).ended(2).said(&["--redis"]);
    convoke(&["doctor", "--nats-user", "ann"]).ended(2).said(&["--nats-password"]);
    convoke(&["doctor", "--nats-creds", "missing.creds"]).ended(2).said(&["missing.creds"]);
    convoke(&["doctor", "--namespace", "a.b"]).ended(2).said(&["a.b"]);
    convoke(&["doctor", "--config", "missing.toml"]).ended(2).said(&["missing.toml"]);
}

#[test]
fn a_key_of_the_file_that_nobody_knows_is_named() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "[nats]\nurlz = [\"x\"]\n").expect("it is written");
    let path = file.path().to_str().expect("a plain path");
    convoke(&["doctor", "--config", path]).ended(2).said(&[path, "urlz"]);
}

#[test]
fn a_failure_is_json_for_programs_and_a_sentence_for_people() {
    let ran = convoke(&["doctor", "--output", "json", "--nats", "http://x"]).ended(2);
    assert!(ran.json()["error"].as_str().is_some_and(|error| error.contains("http://x")), "{ran:?}");
    assert!(ran.stderr.starts_with("convoke: ") && ran.stderr.trim_end().lines().count() == 1, "{ran:?}");
}
