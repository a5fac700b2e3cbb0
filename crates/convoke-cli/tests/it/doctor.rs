//! `convoke doctor`.

use convoke_core::{NodeIdentity, Transport as _};
use convoke_testing::servers::{NatsServer, RedisServer};
use serde_json::Value;

use crate::support::convoke;

/// The findings of this severity, as `about: found`.
fn of_severity(report: &Value, severity: &str) -> Vec<String> {
    let findings = report["findings"].as_array().expect("a list");
    let wanted = findings.iter().filter(|finding| finding["severity"] == severity);
    let text = |finding: &Value, key: &str| finding[key].as_str().expect("text").to_owned();
    wanted.map(|finding| format!("{}: {}", text(finding, "about"), text(finding, "found"))).collect()
}

#[tokio::test]
async fn good_servers_are_fine() {
    let Some(nats) = NatsServer::start_or_skip("doctor, fine").await else { return };
    let Some(redis) = RedisServer::builder().append_only().start_or_skip("doctor, fine").await else {
        return;
    };
    let servers = ["--nats", &nats.url(), "--redis", &redis.url()];
    let ran = convoke(&[&["doctor"], &servers[..]].concat()).ended(0);
    let ran = ran.said(&[
        "profile fast",
        "JetStream is on",
        "streams\n  fine     CONVOKE_EVENTS",
        "maxmemory-policy is noeviction",
    ]);
    assert!(ran.stdout.contains("\n0 errors, 0 warnings, "), "{}", ran.stdout);
    assert!(ran.stdout.lines().all(|line| line.chars().count() <= 80), "{}", ran.stdout);
    assert!(!ran.stdout.contains('\u{1b}'), "no colours where there is no terminal: {}", ran.stdout);
    let report = convoke(&[&["doctor", "--output", "json"], &servers[..]].concat()).ended(0).json();
    assert_eq!((&report["errors"], &report["profile"]), (&0.into(), &"fast".into()));
}

#[tokio::test]
async fn what_a_node_would_refuse_ends_with_one() {
    let Some(nats) = NatsServer::start_or_skip("doctor, errors").await else { return };
    let lru = RedisServer::builder().option("maxmemory-policy", "allkeys-lru");
    let Some(redis) = lru.start_or_skip("doctor, errors").await else { return };
    let node = convoke_nats::Transport::connect(nats.url()).await.expect("good");
    let identity = NodeIdentity { namespace: "eu".into(), service: "orders".into(), node: "n1".into() };
    node.open(&identity).await.expect("it opens");
    let file = tempfile::NamedTempFile::new().expect("a file");
    let text = format!(
        "namespace = \"eu\"\n[nats]\nurls = [\"{}\"]\n[nats.events]\nmax_age = \"1h\"\n[redis]\nurl = \"{}\"\n",
        nats.url(),
        redis.url()
    );
    std::fs::write(file.path(), text).expect("it is written");
    let path = file.path().to_str().expect("a plain path");

    let report = convoke(&["doctor", "--config", path, "--output", "json"]).ended(1).json();
    assert_eq!(of_severity(&report, "error"), ["stream EU_EVENTS: max_age is 604800s"]);
    let warnings = ["redis: maxmemory-policy is allkeys-lru", "redis: appendonly is no"];
    assert_eq!(of_severity(&report, "warning"), warnings);

    let report =
        convoke(&["doctor", "--config", path, "--output", "json", "--profile", "ha"]).ended(1).json();
    let errors = of_severity(&report, "error");
    for part in [&warnings[..], &["stream EU_EVENTS: num_replicas is 1"]].concat() {
        assert!(errors.iter().any(|error| error == part), "{part}: {errors:?}");
    }
}

#[tokio::test]
async fn a_nats_without_jetstream_ends_with_one() {
    let Some(nats) = NatsServer::builder().no_jetstream().start_or_skip("doctor, no JetStream").await else {
        return;
    };
    let ran = convoke(&["doctor", "--nats", &nats.url()]).ended(1);
    ran.said(&["error    JetStream is off", "to do: start the server with `-js`", "1 error, 0 warnings"]);
}

#[tokio::test]
async fn servers_that_are_away_are_told_within_five_seconds() {
    let Some(nats) = NatsServer::start_or_skip("doctor, away").await else { return };
    let Some(redis) = RedisServer::start_or_skip("doctor, away").await else { return };
    let (nats_url, redis_url) = (nats.url(), redis.url());
    let asked = ["doctor", "--nats", &nats_url, "--redis", &redis_url];
    nats.pause();
    redis.pause();
    convoke(&asked).ended(1).soon().said(&["does not answer", "2 errors"]);
    nats.kill();
    redis.kill();
    let ran = convoke(&asked).ended(1).soon();
    ran.said(&["NATS cannot be reached", "2 errors", "does not answer"]);
}

#[tokio::test]
async fn what_cannot_be_seen_is_confirmed_by_a_flag() {
    let Some(nats) = NatsServer::start_or_skip("doctor, confirmed").await else { return };
    let asked = ["doctor", "--output", "json", "--profile", "strict", "--nats", &nats.url()];
    let unseen =
        |report: &Value| of_severity(report, "error").iter().any(|error| error.contains("sync_interval"));
    assert!(unseen(&convoke(&asked).ended(1).json()));
    let confirmed = convoke(&[&asked[..], &["--fsync-confirmed"]].concat()).ended(1).json();
    assert!(!unseen(&confirmed), "the cluster alone is missing: {confirmed}");
}
