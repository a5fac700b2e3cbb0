//! Where a setting comes from: the flag, else the environment, else the file, else the default.
use std::{io::Write, process::Command, time::Duration};

use clap::Parser;
use orders::{
    cli::{Cli, NodeFlags, Run},
    settings::{Role, Secret, Settings},
};
use tempfile::NamedTempFile;

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a temporary file");
    file.write_all(text.as_bytes()).expect("it takes the text");
    file
}

fn load(text: &str) -> Result<Settings, String> {
    let file = file(text);
    Settings::load(&NodeFlags { config: Some(file.path().into()), ..NodeFlags::default() })
}

fn flags(arguments: &[&str]) -> NodeFlags {
    let command =
        Cli::try_parse_from([&["orders", "node"], arguments].concat()).expect("they are right").command;
    let Some(Run::Node(flags)) = command else { panic!("{command:?}") };
    *flags
}

#[test]
fn without_anything_the_defaults_hold() {
    let settings = Settings::load(&NodeFlags::default()).expect("the defaults are right");
    assert_eq!(settings, Settings::default());
    assert_eq!(settings.listen, "127.0.0.1:5001");
    assert_eq!(settings.nats.url, Secret("nats://127.0.0.1:4222".into()));
    assert_eq!((settings.redis.url, settings.role), (None, Role::Api));
}

#[test]
fn the_file_overrides_the_defaults_and_flags_override_the_file() {
    let text =
        "listen = \"127.0.0.1:6001\"\nnode = \"a\"\nrole = \"worker\"\n[nats]\nurl = \"nats://file:4222\"\n";
    let file = file(text);
    let path = file.path().to_str().expect("a plain path");
    let settings = Settings::load(&flags(&["--config", path, "--node", "b", "--nats", "nats://flag:4222"]));
    let settings = settings.expect("both are right");
    assert_eq!((settings.listen.as_str(), settings.node.as_deref()), ("127.0.0.1:6001", Some("b")));
    assert_eq!(settings.role, Role::Worker);
    assert_eq!(settings.nats.url, Secret("nats://flag:4222".into()));
}

#[test]
fn every_flag_reaches_its_setting() {
    let settings = Settings::load(&flags(&[
        "--listen",
        "0.0.0.0:1",
        "--node",
        "n",
        "--role",
        "worker",
        "--profile",
        "strict",
        "--namespace",
        "ns",
        "--nats",
        "nats://n:1",
        "--nats-creds",
        "c",
        "--nats-user",
        "u",
        "--nats-password",
        "p",
        "--nats-ca",
        "na",
        "--nats-replicas",
        "3",
        "--redis",
        "redis://r",
        "--redis-ca",
        "ra",
        "--tls-cert",
        "tc",
        "--tls-key",
        "tk",
        "--bearer-token",
        "t",
        "--bearer-token-file",
        "tf",
        "--rate-limit",
        "9",
        "--drain-delay",
        "250ms",
        "--effects-url",
        "http://e",
    ]))
    .expect("they are right");
    assert_eq!((settings.listen.as_str(), settings.node.as_deref()), ("0.0.0.0:1", Some("n")));
    assert_eq!((settings.role, settings.namespace.as_str()), (Role::Worker, "ns"));
    assert_eq!(settings.profile, convoke::Profile::Strict);
    assert_eq!(settings.effects_url.as_deref(), Some("http://e"));
    let nats = settings.nats;
    assert_eq!(
        (nats.url.0.as_str(), nats.creds, nats.ca),
        ("nats://n:1", Some("c".into()), Some("na".into()))
    );
    assert_eq!(
        (nats.user.as_deref(), nats.password, nats.replicas),
        (Some("u"), Some(Secret("p".into())), Some(3))
    );
    assert_eq!(
        (settings.redis.url, settings.redis.ca),
        (Some(Secret("redis://r".into())), Some("ra".into()))
    );
    let http = settings.http;
    assert_eq!((http.tls_cert, http.tls_key), (Some("tc".into()), Some("tk".into())));
    assert_eq!((http.bearer_token, http.rate_limit), (Some(Secret("t".into())), Some(9)));
    assert_eq!(http.bearer_token_file, Some("tf".into()));
    assert_eq!(http.drain_delay, Duration::from_millis(250));
}

#[test]
fn a_key_that_nobody_knows_is_named() {
    for (text, key) in [
        ("lisen = \"x\"", "`lisen`"),
        ("[nats]\nurll = \"x\"", "`nats.urll`"),
        ("[http]\ntls = true", "`http.tls`"),
        ("[kafka]\nurl = \"x\"", "`kafka`"),
    ] {
        let refused = load(text).expect_err("the key is wrong");
        assert!(refused.contains(key), "{text}: {refused}");
    }
}

#[test]
fn a_value_of_another_type_is_named_with_its_key() {
    for (text, key) in [
        ("listen = 5001", "`listen`"),
        ("role = \"boss\"", "`role`"),
        ("profile = \"safe\"", "`profile`"),
        ("[nats]\nreplicas = \"three\"", "`nats.replicas`"),
        ("[http]\nrate_limit = -1", "`http.rate_limit`"),
        ("[http]\ndrain_delay = \"soon\"", "`http.drain_delay`"),
    ] {
        let refused = load(text).expect_err("the value is wrong");
        assert!(refused.contains(key), "{text}: {refused}");
    }
}

#[test]
fn a_file_that_is_missing_or_no_toml_is_named() {
    let missing = NodeFlags { config: Some("missing/orders.toml".into()), ..NodeFlags::default() };
    let refused = Settings::load(&missing).expect_err("there is no file");
    assert!(refused.contains("missing/orders.toml"), "{refused}");
    let broken = file("listen = ");
    let name = broken.path().display().to_string();
    let flags = NodeFlags { config: Some(broken.path().into()), ..NodeFlags::default() };
    let refused = Settings::load(&flags).expect_err("it is no TOML");
    assert!(refused.contains(&name), "{refused}");
}

#[test]
fn the_sample_file_shows_every_key_with_its_default() {
    let sample = include_str!("../orders.toml");
    let settings = load(sample).expect("the sample is right");
    assert_eq!(settings, Settings::default(), "what is not a comment is a default");
    let lines = sample.lines().map(|line| line.strip_prefix("# ").unwrap_or(line));
    let set: Vec<_> = lines.filter(|line| line.starts_with('[') || line.contains(" = ")).collect();
    load(&set.join("\n")).expect("every key in it is known");
    assert_eq!(
        set.iter().filter(|line| !line.starts_with('[')).count(),
        29,
        "one for each flag but --config, and two that the file alone has"
    );
}

#[test]
fn secrets_are_not_shown() {
    let text = "[nats]\nurl = \"nats://u:hunter2@h\"\npassword = \"hunter2\"\n[redis]\nurl = \"redis://:hunter2@h\"\n[http]\nbearer_token = \"hunter2\"";
    let shown = format!("{:?}", load(text).expect("it is right"));
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn the_tokens_of_the_file_and_the_flag_are_all_valid() {
    let tokens = file("one\n\n two \n");
    let mut settings = Settings::default();
    assert_eq!(settings.bearer_tokens(), Ok(vec![]));
    settings.http.bearer_token = Some(Secret("zero".into()));
    settings.http.bearer_token_file = Some(tokens.path().into());
    assert_eq!(settings.bearer_tokens(), Ok(vec!["zero".into(), "one".into(), "two".into()]));
    let empty = file("\n");
    settings.http.bearer_token_file = Some(empty.path().into());
    assert!(
        settings.bearer_tokens().expect_err("a file without tokens protects nothing").contains("no token")
    );
}

/// The program's complaint about the NATS address it was given last.
fn complaint(file: Option<&str>, environment: Option<&str>, flag: Option<&str>) -> String {
    let file = file.map(|url| self::file(&format!("[nats]\nurl = \"{url}\"\n")));
    let mut program = Command::new(env!("CARGO_BIN_EXE_orders"));
    program.args(["node", "--listen", "127.0.0.1:0"]).env_remove("NATS_URL").env_remove("REDIS_URL");
    if let Some(file) = &file {
        program.arg("--config").arg(file.path());
    }
    if let Some(url) = environment {
        program.env("NATS_URL", url);
    }
    if let Some(url) = flag {
        program.args(["--nats", url]);
    }
    let output = program.output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).expect("text")
}

#[test]
fn the_environment_overrides_the_file_and_flags_override_both() {
    let (file, environment, flag) = ("bad://file", "bad://environment", "bad://flag");
    assert!(complaint(Some(file), None, None).contains(file));
    assert!(complaint(Some(file), Some(environment), None).contains(environment));
    assert!(complaint(Some(file), Some(environment), Some(flag)).contains(flag));
}
