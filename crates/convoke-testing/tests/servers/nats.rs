use std::time::Duration;

use async_nats::jetstream;
use async_nats::{Client, ConnectOptions};
use convoke_testing::servers::{Certificates, NatsCluster, NatsServer};
use convoke_testing::{eventually, eventually_within};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(5);

async fn stream(client: &Client) -> jetstream::stream::Stream {
    let config =
        jetstream::stream::Config { name: "S".into(), subjects: vec!["s".into()], ..Default::default() };
    let jetstream = jetstream::new(client.clone());
    jetstream.get_or_create_stream(config).await.expect("JetStream is on and has a store")
}

async fn round_trip(client: &Client) -> Result<(), String> {
    // `flush` does not wait for the server, the round trip to a subscription does.
    let mut inbox = client.subscribe("echo").await.map_err(|e| e.to_string())?;
    client.publish("echo", "hello".into()).await.map_err(|e| e.to_string())?;
    let message = timeout(SOON, futures_util::StreamExt::next(&mut inbox)).await;
    message.map_err(|_| "nothing came back".to_owned())?.map(|_| ()).ok_or_else(|| "closed".into())
}

#[tokio::test]
async fn a_killed_server_comes_back_on_its_port_with_its_store() {
    let Some(nats) = NatsServer::start_or_skip("a killed nats-server comes back").await else { return };
    let (port, pid) = (nats.port(), nats.pid());
    let client = async_nats::connect(nats.url()).await.expect("it is ready once started");
    stream(&client).await;
    let ack = jetstream::new(client.clone()).publish("s", "stored".into()).await.expect("sent");
    ack.await.expect("stored");
    drop(client);

    nats.kill();
    async_nats::connect(nats.url()).await.expect_err("nobody listens");
    nats.restart().await.expect("it comes back");

    assert_eq!(nats.port(), port);
    assert_ne!(nats.pid(), pid);
    let client = async_nats::connect(nats.url()).await.expect("it is back");
    let messages = stream(&client).await.get_info().await.expect("the stream is there").state.messages;
    assert_eq!(messages, 1);
}

#[tokio::test]
async fn a_paused_server_answers_nothing_until_it_is_resumed() {
    let Some(nats) = NatsServer::start_or_skip("a paused nats-server answers nothing").await else { return };
    let client = async_nats::connect(nats.url()).await.expect("it is ready once started");
    round_trip(&client).await.expect("it answers");
    nats.pause();
    let options = ConnectOptions::new().connection_timeout(Duration::from_millis(200));
    options.connect(nats.url()).await.expect_err("a stopped process does not greet");
    nats.resume();
    eventually("it answers again", || round_trip(&client)).await;
}

#[tokio::test]
async fn two_servers_share_nothing() {
    let Some(one) = NatsServer::start_or_skip("two nats-servers share nothing").await else { return };
    let two = NatsServer::start().await.expect("the first one started too");
    assert_ne!(one.port(), two.port());
    let client = async_nats::connect(one.url()).await.expect("it is ready once started");
    stream(&client).await;
    let client = async_nats::connect(two.url()).await.expect("it is ready once started");
    let missing = jetstream::new(client).get_stream("S").await;
    assert!(missing.is_err(), "a stream of one server is not seen on the other");
}

#[tokio::test]
async fn users_are_let_in_and_strangers_are_not() {
    let builder = NatsServer::builder().auth_user("orders", "s3cret \"quoted\"");
    let Some(nats) = builder.start_or_skip("nats-server users").await else { return };
    let user = ConnectOptions::with_user_and_password("orders".into(), "s3cret \"quoted\"".into());
    round_trip(&user.connect(nats.url()).await.expect("the user is known")).await.expect("it answers");
    async_nats::connect(nats.url()).await.expect_err("nobody comes in without credentials");
    let wrong = ConnectOptions::with_user_and_password("orders".into(), "wrong".into());
    wrong.connect(nats.url()).await.expect_err("the password is wrong");
    nats.restart().await.expect("a server with users is seen to be ready too");
}

#[tokio::test]
async fn tokens_and_nkeys_are_let_in_and_strangers_are_not() {
    let Some(nats) = NatsServer::builder().token("t0ken").start_or_skip("nats-server tokens").await else {
        return;
    };
    let token = ConnectOptions::with_token("t0ken".into());
    round_trip(&token.connect(nats.url()).await.expect("the token is known")).await.expect("it answers");
    async_nats::connect(nats.url()).await.expect_err("nobody comes in without the token");

    let (known, stranger) = (nkeys::KeyPair::new_user(), nkeys::KeyPair::new_user());
    let nats =
        NatsServer::builder().nkey(&known.public_key()).start().await.expect("the other one started too");
    let connect = async |pair: nkeys::KeyPair| {
        let seed = pair.seed().expect("a new pair has its seed");
        ConnectOptions::with_nkey(seed).connect(nats.url()).await
    };
    round_trip(&connect(known).await.expect("the key is known")).await.expect("it answers");
    connect(stranger).await.expect_err("the key is not known");
}

#[tokio::test]
async fn tls_asks_clients_for_a_certificate_when_told_to() {
    let files = Certificates::generate().expect("certificates can be made");
    let builder = NatsServer::builder().tls(files.server(), files.server_key(), files.authority(), true);
    let Some(nats) = builder.start_or_skip("nats-server with TLS").await else { return };
    let trusting = || ConnectOptions::new().add_root_certificates(files.authority()).require_tls(true);
    let client =
        trusting().add_client_certificate(files.client(), files.client_key()).connect(nats.url()).await;
    round_trip(&client.expect("both sides know each other")).await.expect("it answers");
    trusting().connect(nats.url()).await.expect_err("it wants to see a certificate");

    let builder = NatsServer::builder().tls(files.server(), files.server_key(), files.authority(), false);
    let nats = builder.start().await.expect("the other one started too");
    round_trip(&trusting().connect(nats.url()).await.expect("it asks for nothing"))
        .await
        .expect("it answers");
    async_nats::connect(nats.url()).await.expect_err("the authority is not known to everybody");
}

#[tokio::test]
async fn settings_reach_the_server_and_jetstream_can_be_left_out() {
    let builder = NatsServer::builder().no_jetstream().config_text("max_payload: 1024");
    let Some(nats) = builder.start_or_skip("nats-server settings").await else { return };
    let client = async_nats::connect(nats.url()).await.expect("it is ready once started");
    assert_eq!(client.server_info().max_payload, 1024);
    assert!(jetstream::new(client).query_account().await.is_err(), "there is no JetStream");
}

#[tokio::test]
async fn a_configuration_the_server_refuses_fails_with_the_servers_words() {
    let Some(nats) = NatsServer::start_or_skip("a refused configuration").await else { return };
    assert!(nats.rss_bytes() > 1024 * 1024, "a running server has some memory");
    let error =
        NatsServer::builder().config_text("no_such_setting: 1").start().await.expect_err("no such setting");
    assert!(error.to_string().contains("no_such_setting"), "{error}");
}

#[tokio::test]
async fn a_cluster_keeps_what_it_confirmed_when_one_of_its_servers_dies() {
    let Some(cluster) = NatsCluster::start_or_skip("a cluster of three").await else { return };
    let client = async_nats::connect(cluster.servers()[1].url()).await.expect("it is ready once started");
    let context = jetstream::new(client);
    let config = jetstream::stream::Config {
        name: "S".into(),
        subjects: vec!["s".into()],
        num_replicas: 3,
        ..Default::default()
    };
    context.create_stream(config).await.expect("three copies");
    context.publish("s", "stored".into()).await.expect("sent").await.expect("stored");
    cluster.servers()[0].kill();
    // two elections, of the cluster and of the stream, take the servers some ten seconds
    eventually_within(Duration::from_secs(30), "the other two go on", async || {
        let stream = context.get_stream("S").await.map_err(|error| error.to_string())?;
        let message = stream.get_raw_message(1).await.map_err(|error| error.to_string())?;
        if &*message.payload == b"stored" { Ok(()) } else { Err("another message".to_owned()) }
    })
    .await;
}
