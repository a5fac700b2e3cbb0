//! What a look at a server finds, and what of it ends a start.

use std::{collections::BTreeSet, time::Duration};

use convoke_core::{
    Audience, ClaimStore as _, Finding, Profile, Severity, Transport as _, TransportErrorKind,
};
use convoke_nats::{Auth, Config, ErrorKind, StoresConfig, Transport, check};
use convoke_testing::{
    eventually_within,
    servers::{NatsCluster, NatsServer},
};
use tokio::time::Instant;

use crate::support::{Recorder, config, consume, identity, node, publish, server, soon, up};

const PLACED: &str = "orders.placed.v1";

async fn findings(config: &Config) -> Vec<Finding> {
    check(config, &StoresConfig::default()).await.expect("the server can be asked")
}

/// Those that are not fine.
async fn complaints(config: &Config) -> Vec<Finding> {
    findings(config).await.into_iter().filter(|finding| finding.severity > Severity::Fine).collect()
}

async fn refusal(config: Config) -> String {
    let node = Transport::connect_with(config).await.expect("a good configuration");
    let error = node.open(&identity("n9")).await.expect_err("it is refused");
    assert_eq!(error.kind(), TransportErrorKind::Refused, "{error}");
    error.to_string()
}

#[tokio::test]
async fn a_fresh_server_is_fine_and_a_look_changes_nothing() {
    let Some(server) = server("fresh").await else { return };
    for _ in 0..2 {
        let found = findings(&config(&server.url())).await;
        assert!(found.iter().all(|finding| finding.severity == Severity::Fine), "{found:?}");
        let missing = found.iter().filter(|finding| finding.found.starts_with("not declared yet")).count();
        assert_eq!(missing, 10, "{found:?}");
    }
    drop(node(&server.url(), "n1").await);
    let found = findings(&config(&server.url())).await;
    let events = found.iter().find(|finding| finding.about == "stream CONVOKE_EVENTS").expect("it is told");
    assert!(events.found.starts_with("as declared, 1 copy"), "{events}");
}

#[tokio::test]
async fn a_stream_that_differs_is_told_field_by_field() {
    let Some(server) = server("stream fields").await else { return };
    drop(node(&server.url(), "n1").await);
    let other = config(&server.url()).events(|events| {
        events.max_age = Duration::from_secs(3600);
        events.stream_bytes_max = 1000;
    });
    let found = complaints(&other).await;
    let texts: Vec<_> =
        found.iter().map(|finding| (finding.found.as_str(), finding.expected.as_str())).collect();
    assert_eq!(texts, [("max_age is 604800s", "3600s"), ("max_bytes is 1073741824", "1000")]);
    assert!(found.iter().all(|finding| finding.is_error() && finding.about == "stream CONVOKE_EVENTS"));
    assert!(found[0].remedy.contains("nats stream edit CONVOKE_EVENTS"), "{}", found[0]);
}

#[tokio::test]
async fn a_consumer_that_differs_is_told_field_by_field() {
    let Some(server) = server("consumer fields").await else { return };
    let one = node(&server.url(), "n1").await;
    consume(&one, Audience::Node, &[PLACED], Recorder::new()).await;
    consume(&one, Audience::Group("billing".to_owned()), &[PLACED], Recorder::new()).await;
    let consumers = format!("{} consumers, as declared", 1 + 1 + 16);
    eventually_within(Duration::from_secs(15), "the lanes are divided", || async {
        let found = findings(&config(&server.url())).await;
        if found.iter().any(|finding| finding.found == consumers) { Ok(()) } else { Err(found) }
    })
    .await;
    assert_eq!(complaints(&config(&server.url())).await, []);
    let found = complaints(&config(&server.url()).ack_wait(Duration::from_secs(9))).await;
    let names: BTreeSet<_> = found.iter().map(|finding| finding.about.as_str()).collect();
    let expected = BTreeSet::from([
        "consumer orders__group__billing of CONVOKE_EVENTS",
        "consumer orders__group__billing=.. of CONVOKE_EVENTS",
        "consumer orders__group__billing of CONVOKE_REPLAY",
        "consumer orders__n1 of CONVOKE_EVENTS",
        "consumer orders__node__n1 of CONVOKE_REPLAY",
    ]);
    assert_eq!(found.len(), expected.len(), "each once: {found:?}");
    assert_eq!(names, expected);
    assert!(
        found.iter().all(|finding| finding.found == "ack_wait is 2s" && finding.expected == "9s"),
        "{found:?}"
    );
}

#[tokio::test]
async fn a_server_without_jetstream_is_an_error() {
    let Some(server) = NatsServer::builder().no_jetstream().start_or_skip("check without JetStream").await
    else {
        return;
    };
    let found = complaints(&config(&server.url())).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].is_error() && found[0].to_string().contains("JetStream is off"), "{}", found[0]);
}

#[tokio::test]
async fn a_server_that_is_away_or_refuses_us_is_told_within_five_seconds() {
    let builder = NatsServer::builder().auth_user("ann", "secret");
    let Some(server) = builder.start_or_skip("check away").await else { return };
    let failed = async |config: Config| {
        let started = Instant::now();
        let error = check(&config, &StoresConfig::default()).await.expect_err("it cannot be asked");
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        error
    };
    let wrong = Auth::UserPassword { user: "ann".into(), password: "guess".into() };
    let error = failed(config(&server.url()).auth(wrong)).await;
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    server.pause();
    let error = failed(config(&server.url())).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("does not answer"), "{error}");
    server.kill();
    let error = failed(config(&server.url())).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("cannot be reached"), "{error}");
}

#[tokio::test]
async fn an_account_without_room_ends_the_start() {
    let account = "accounts { A { users: [ { user: ann, password: secret } ], jetstream: { max_store: 1MB, max_streams: 3 } } }";
    let Some(server) = NatsServer::builder().config_text(account).start_or_skip("account limits").await
    else {
        return;
    };
    let auth = Auth::UserPassword { user: "ann".into(), password: "secret".into() };
    let config = config(&server.url()).auth(auth);
    let found = complaints(&config).await;
    let errors: Vec<_> = found.iter().filter(|finding| finding.about == "account").collect();
    assert!(errors.len() == 2 && errors.iter().all(|finding| finding.is_error()), "{found:?}");
    assert!(
        errors[0].found.contains("of 1048576 bytes") && errors[1].found.contains("of 3 streams"),
        "{errors:?}"
    );
}

#[tokio::test]
async fn several_copies_at_a_server_that_stands_alone_end_the_start() {
    let Some(server) = server("alone").await else { return };
    let text = refusal(config(&server.url()).profile(Profile::Ha)).await;
    assert!(text.contains("not part of a cluster") && text.contains("`fast`"), "{text}");
    let found = complaints(&config(&server.url()).profile(Profile::Ha)).await;
    assert!(found.iter().any(|finding| finding.is_error() && finding.found.contains("cluster")), "{found:?}");
    // the same without the check before: what the server answers is for good
    let stores =
        convoke_nats::Stores::connect_with(config(&server.url()).replicas(3), StoresConfig::default());
    let pinged = stores.await.expect("it connects").ping().await;
    let text = pinged.expect_err("no copies here").to_string();
    assert!(text.contains("connect to a cluster"), "{text}");
}

#[tokio::test]
async fn a_profile_declares_its_copies_and_decides_what_ends_the_start() {
    let Some(cluster) = NatsCluster::start_or_skip("profiles").await else { return };
    let of = |profile| config(&cluster.url()).profile(profile);
    let text = refusal(of(Profile::Strict)).await;
    assert!(text.contains("sync_interval") && text.contains("fsync_confirmed"), "{text}");
    let node = Transport::connect_with(of(Profile::Strict).fsync_confirmed()).await.expect("good");
    node.open(&identity("n1")).await.expect("it opens");
    up(&node).await;
    publish(&node, PLACED, 0..1).await;
    let ha = complaints(&of(Profile::Ha)).await;
    assert!(ha.len() == 1 && ha[0].severity == Severity::Warning, "sync_interval alone: {ha:?}");
    assert!(complaints(&of(Profile::Strict).fsync_confirmed()).await.is_empty());
    let fast = complaints(&of(Profile::Fast)).await;
    assert!(
        fast.iter().any(|finding| finding.found == "num_replicas is 3" && finding.expected == "1"),
        "{fast:?}"
    );
    cluster.servers()[2].kill();
    let away = of(Profile::Strict).fsync_confirmed();
    eventually_within(Duration::from_secs(30), "the copy is missed", || async {
        // while the others choose a leader, there is no answer
        let found = check(&away, &StoresConfig::default()).await.map_err(|error| vec![error.to_string()])?;
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        let told = found.iter().any(|finding| finding.contains("copies away or behind"));
        if told { Ok(()) } else { Err(found) }
    })
    .await;
    node.close(soon(5)).await;
}
