//! What is wrong for good ends the start, with a sentence that says what to do.

use std::time::Duration;

use convoke_core::{Audience, Transport as _, TransportErrorKind, TransportHealth};
use convoke_nats::{Auth, Config, Tls, Transport};
use convoke_testing::{
    eventually, eventually_within,
    proxy::TcpProxy,
    servers::{Certificates, NatsServer},
};
use tokio::time::Instant;

use crate::{
    jwt,
    support::{
        Echo, Recorder, command, config, connect, consume, identity, node, publish, serve, server, soon,
        try_consume, up,
    },
};

const PLACE: &str = "orders.place.v1";
const PLACED: &str = "orders.placed.v1";

/// Why a node with this configuration does not start; within five seconds.
async fn refusal(config: Config) -> String {
    let started = Instant::now();
    let node = Transport::connect_with(config).await.expect("a good configuration");
    let error = node.open(&identity("n1")).await.expect_err("it is refused");
    assert_eq!(error.kind(), TransportErrorKind::Refused);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert!(matches!(node.health(), TransportHealth::Failed(_)));
    error.to_string()
}

async fn opens(config: Config) {
    let node = Transport::connect_with(config).await.expect("a good configuration");
    node.open(&identity("n1")).await.expect("it opens");
    up(&node).await;
    publish(&node, PLACED, 0..1).await;
}

#[tokio::test]
async fn a_live_node_keeps_its_id_and_a_dead_ones_is_free() {
    let Some(server) = server("duplicate id").await else { return };
    let first = node(&server.url(), "n1").await;
    let text = refusal(config(&server.url())).await;
    assert!(text.contains("a node with the id \"n1\" is alive"), "{text}");
    drop(first);
    eventually("the id is free", || async { connect(&server.url()).await.open(&identity("n1")).await }).await;
}

#[tokio::test]
async fn of_two_nodes_that_start_at_once_under_one_id_one_stays() {
    let Some(server) = server("two at once").await else { return };
    for round in 0..10 {
        let (one, two) = (connect(&server.url()).await, connect(&server.url()).await);
        up_link(&server).await;
        let id = identity(&format!("n{round}"));
        let (first, second) = tokio::join!(one.open(&id), two.open(&id));
        assert!(first.is_ok() || second.is_ok(), "{first:?} and {second:?}");
        // both may have started when one of them was too slow to answer: then it stops
        one_stays(&one, &two).await;
    }
}

async fn one_stays(one: &Transport, two: &Transport) {
    eventually("one is up and the other one stopped", || async {
        match (one.health(), two.health()) {
            (TransportHealth::Up, TransportHealth::Failed(why))
            | (TransportHealth::Failed(why), TransportHealth::Up) => Ok(why),
            other => Err(other),
        }
    })
    .await;
}

#[tokio::test]
async fn a_node_whose_id_was_taken_while_its_link_stood_still_stops_when_it_is_back() {
    let Some(server) = server("taken over").await else { return };
    for (id, reconnects) in [("n1", false), ("n2", true)] {
        let proxy = TcpProxy::to_port(server.port()).await.expect("a proxy");
        let old = node(&format!("nats://127.0.0.1:{}", proxy.port()), id).await;
        let (before, after) = (Recorder::new(), Recorder::new());
        consume(&old, Audience::Node, &[PLACED], before.clone()).await;
        serve(&old, PLACE, Echo::after(Duration::ZERO)).await;
        publish(&old, PLACED, 0..3).await;
        before.has_seen(3).await;
        proxy.blackhole();
        let new = node(&server.url(), id).await;
        up(&new).await;
        consume(&new, Audience::Node, &[PLACED], after.clone()).await;
        if reconnects {
            proxy.strand();
        }
        proxy.heal();
        eventually("the older one stops", || async {
            match old.health() {
                TransportHealth::Failed(why) if why.contains("another node took over the id") => Ok(()),
                other => Err(other),
            }
        })
        .await;
        eventually("it is out of its group", || async {
            let asked = new.request(command(PLACE, "x"), soon(1)).await;
            // the server keeps the stranded link for a while, and nobody answers there
            asked.is_err_and(|error| reconnects || error.kind() == TransportErrorKind::NoHandler)
        })
        .await;
        let seen = before.texts().len();
        publish(&new, PLACED, 3..20).await;
        // the server sends into the stranded link what was asked for on it, until that request ends after 30 s
        eventually_within(Duration::from_secs(40), "the newer one has all", || async {
            let counts = after.counts();
            let missing: Vec<_> = (3..20).filter(|n| !counts.contains_key(&n.to_string())).collect();
            if missing.is_empty() { Ok(()) } else { Err(missing) }
        })
        .await;
        assert_eq!(before.texts().len(), seen, "the older one has nothing more");
        up(&new).await;
        new.leave(soon(5)).await;
        new.close(soon(5)).await;
    }
}

#[tokio::test]
async fn a_node_stops_when_it_hears_of_a_newer_one_under_its_id() {
    let Some(server) = server("newer record").await else { return };
    let (old, other) = (node(&server.url(), "n1").await, node(&server.url(), "n2").await);
    let client = async_nats::connect(server.url()).await.expect("a client");
    let context = async_nats::jetstream::new(client);
    let stored = context.publish("$KV.CONVOKE_NODES.n1", "somebody".into()).await.expect("sent");
    stored.await.expect("it is stored");
    eventually("it stops", || async { matches!(old.health(), TransportHealth::Failed(_)) }).await;
    up(&other).await;
}

#[tokio::test]
async fn a_node_whose_record_is_gone_writes_it_again() {
    let Some(server) = server("record gone").await else { return };
    let one = node(&server.url(), "n1").await;
    let client = async_nats::connect(server.url()).await.expect("a client");
    let context = async_nats::jetstream::new(client);
    context.delete_stream("KV_CONVOKE_NODES").await.expect("it is deleted");
    server.restart().await.expect("it comes back");
    eventually("the record is there", || async {
        let bucket = context.get_stream("KV_CONVOKE_NODES").await.map_err(|error| error.to_string())?;
        bucket
            .get_last_raw_message_by_subject("$KV.CONVOKE_NODES.n1")
            .await
            .map_err(|error| error.to_string())
    })
    .await;
    up(&one).await;
}

/// Both have their connections by the time a third one is made.
async fn up_link(server: &NatsServer) {
    drop(async_nats::connect(server.url()).await.expect("a client"));
}

#[tokio::test]
async fn a_stream_that_differs_is_refused_with_what_differs_and_stays_as_it_is() {
    let Some(server) = server("stream drift").await else { return };
    drop(node(&server.url(), "n0").await);
    let other = config(&server.url()).events(|events| events.max_age = Duration::from_secs(3600));
    let text = refusal(other).await;
    assert!(
        text.contains("CONVOKE_EVENTS") && text.contains("max_age is 604800s, 3600s is declared"),
        "{text}"
    );
    let other = config(&server.url()).jobs(|jobs| jobs.waiting_max = 7);
    let text = refusal(other).await;
    assert!(text.contains("CONVOKE_JOBS") && text.contains("max_msgs is 1000000, 7 is declared"), "{text}");
    opens(config(&server.url())).await;
}

#[tokio::test]
async fn a_consumer_that_differs_is_refused_and_other_names_are_taken_over() {
    let Some(server) = server("consumer drift").await else { return };
    let billing = || Audience::Group("billing".to_owned());
    let one = node(&server.url(), "n1").await;
    consume(&one, billing(), &[PLACED], Recorder::new()).await;
    one.leave(soon(5)).await;
    let other =
        Transport::connect_with(config(&server.url()).ack_wait(Duration::from_secs(9))).await.expect("good");
    other.open(&identity("n2")).await.expect("it opens");
    let error =
        try_consume(&other, billing(), &[PLACED], Recorder::new()).await.expect_err("another ack wait");
    let text = error.to_string();
    assert!(
        text.contains("orders__group__billing") && text.contains("ack_wait is 2s, 9s is declared"),
        "{text}"
    );
    let newer = node(&server.url(), "n3").await;
    let seen = Recorder::new();
    consume(&newer, billing(), &[PLACED, "orders.shipped.v1"], seen.clone()).await;
    publish(&newer, "orders.shipped.v1", 0..1).await;
    seen.has_seen(1).await;
}

#[tokio::test]
async fn a_server_without_jetstream_is_refused() {
    let Some(server) = NatsServer::builder().no_jetstream().start_or_skip("no JetStream").await else {
        return;
    };
    let text = refusal(config(&server.url())).await;
    assert!(text.contains("JetStream is off") && text.contains("-js"), "{text}");
}

#[tokio::test]
async fn names_that_no_subject_can_hold_are_refused() {
    let Some(server) = server("names").await else { return };
    let node = connect(&server.url()).await;
    let error = node.open(&identity("n 1.x")).await.expect_err("no node id");
    assert!(error.to_string().contains("the node id \"n 1.x\" cannot be used"), "{error}");
}

#[tokio::test]
async fn users_and_passwords() {
    let builder = NatsServer::builder().auth_user("ann", "secret");
    let Some(server) = builder.start_or_skip("users").await else { return };
    let as_user = |user: &str, password: &str| {
        config(&server.url()).auth(Auth::UserPassword { user: user.into(), password: password.into() })
    };
    opens(as_user("ann", "secret")).await;
    for wrong in [as_user("ann", "guess"), config(&server.url())] {
        let text = refusal(wrong).await;
        assert!(text.contains("refused the credentials"), "{text}");
    }
}

#[tokio::test]
async fn tokens() {
    let Some(server) = NatsServer::builder().token("secret").start_or_skip("tokens").await else { return };
    opens(config(&server.url()).auth(Auth::Token("secret".into()))).await;
    refusal(config(&server.url()).auth(Auth::Token("guess".into()))).await;
}

#[tokio::test]
async fn nkeys() {
    let (key, stranger) = (::nkeys::KeyPair::new_user(), ::nkeys::KeyPair::new_user());
    let Some(server) = NatsServer::builder().nkey(&key.public_key()).start_or_skip("nkeys").await else {
        return;
    };
    let with =
        |key: &::nkeys::KeyPair| config(&server.url()).auth(Auth::NkeySeed(key.seed().expect("a seed")));
    opens(with(&key)).await;
    refusal(with(&stranger)).await;
}

#[tokio::test]
async fn credentials_files() {
    let issuer = jwt::Issuer::new();
    let builder = NatsServer::builder().config_text(&issuer.server_config());
    let Some(server) = builder.start_or_skip("credentials").await else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("app.creds");
    std::fs::write(&file, issuer.credentials()).expect("written");
    opens(config(&server.url()).auth(Auth::CredentialsFile(file.clone()))).await;
    std::fs::write(&file, jwt::Issuer::new().credentials()).expect("written");
    refusal(config(&server.url()).auth(Auth::CredentialsFile(file))).await;
}

#[tokio::test]
async fn tls_and_client_certificates() {
    let certificates = Certificates::generate().expect("certificates");
    for mutual in [false, true] {
        let ca = certificates.authority();
        let builder =
            NatsServer::builder().tls(certificates.server(), certificates.server_key(), &ca, mutual);
        let Some(server) = builder.start_or_skip("TLS").await else { return };
        let own = Tls::ca(&ca).client_certificate(certificates.client(), certificates.client_key());
        opens(config(&server.url()).tls(own)).await;
        // without a certificate of ours, or without trust in theirs: it may be corrected there, so it is Down
        let lacks = if mutual { Tls::ca(&ca) } else { Tls::default() };
        let node =
            Transport::connect_with(config(&server.url()).tls(lacks)).await.expect("a good configuration");
        node.open(&identity("n2")).await.expect("it goes on in the background");
        assert!(matches!(node.health(), TransportHealth::Down(_)), "{:?}", node.health());
    }
}
