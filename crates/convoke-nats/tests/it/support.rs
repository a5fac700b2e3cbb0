//! Nodes, handlers and messages for the tests.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use convoke_core::{
    Answered, Audience, BoxFuture, Codec, Consume, ConsumeSpec, Envelope, Expiry, Failed, Incoming,
    MessageKind, NodeIdentity, Outgoing, Payload, Serve, ServeSpec, Settled, Transport as _, TransportError,
    TransportHealth,
};
use convoke_nats::{Config, Transport};
use convoke_testing::servers::NatsServer;
use tokio::time::Instant;
use uuid::Uuid;

/// A server, unless none is installed.
pub(crate) async fn server(test: &str) -> Option<NatsServer> {
    NatsServer::start_or_skip(test).await
}

pub(crate) fn identity(node: &str) -> NodeIdentity {
    NodeIdentity { namespace: "convoke".to_owned(), service: "orders".to_owned(), node: node.to_owned() }
}

pub(crate) fn config(url: &str) -> Config {
    Config::new(url).ping_interval(Duration::from_secs(1)).ack_wait(Duration::from_secs(2))
}

/// A node that is open.
pub(crate) async fn node(url: &str, name: &str) -> Arc<Transport> {
    let transport = connect(url).await;
    transport.open(&identity(name)).await.expect("the node opens");
    transport
}

pub(crate) async fn connect(url: &str) -> Arc<Transport> {
    Arc::new(Transport::connect_with(config(url)).await.expect("a good configuration"))
}

pub(crate) fn soon(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

pub(crate) fn payload(bytes: impl Into<Bytes>) -> Payload {
    Payload::Bytes { codec: Codec::MessagePack, bytes: bytes.into() }
}

pub(crate) fn text(payload: &Payload) -> String {
    let (_, bytes) = payload.encoded(Codec::MessagePack).expect("bytes are encoded");
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(crate) fn command(name: &'static str, content: &str) -> Outgoing {
    outgoing(name, MessageKind::Command, content)
}

pub(crate) fn event(name: &'static str, content: &str) -> Outgoing {
    outgoing(name, MessageKind::Event, content)
}

fn outgoing(name: &'static str, kind: MessageKind, content: &str) -> Outgoing {
    let mut envelope = Envelope::with_id(Uuid::now_v7());
    envelope.expiry = (kind != MessageKind::Event).then(|| Expiry::after(Duration::from_secs(5)));
    Outgoing { name, kind, lane: 7, payload: payload(content.to_owned()), envelope }
}

pub(crate) async fn serve(node: &Transport, name: &'static str, serve: Arc<dyn Serve>) {
    let spec = ServeSpec { name, kind: MessageKind::Command, queue_max: 64 };
    node.serve(spec, serve).await.expect("it joins");
}

pub(crate) async fn consume(
    node: &Transport,
    audience: Audience,
    names: &[&'static str],
    consume: Arc<dyn Consume>,
) {
    try_consume(node, audience, names, consume).await.expect("it attaches");
}

pub(crate) async fn try_consume(
    node: &Transport,
    audience: Audience,
    names: &[&'static str],
    consume: Arc<dyn Consume>,
) -> Result<(), TransportError> {
    node.consume(ConsumeSpec { audience, names: names.to_vec(), in_flight_max: 64 }, consume).await
}

pub(crate) async fn up(node: &Transport) {
    convoke_testing::eventually_within(Duration::from_secs(10), "the node is up", || async {
        match node.health() {
            TransportHealth::Up => Ok(()),
            other => Err(other),
        }
    })
    .await;
}

/// Answers with what it got, after a while, and counts.
#[derive(Debug, Default)]
pub(crate) struct Echo {
    pub(crate) after: Duration,
    pub(crate) handled: Arc<AtomicU64>,
    pub(crate) running: Arc<AtomicUsize>,
}

impl Echo {
    pub(crate) fn after(after: Duration) -> Arc<Self> {
        Arc::new(Self { after, ..Self::default() })
    }
    pub(crate) fn handled(&self) -> u64 {
        self.handled.load(Ordering::SeqCst)
    }
}

impl Serve for Echo {
    fn serve(&self, incoming: Incoming) -> BoxFuture<'static, Answered> {
        let (handled, running, after) = (Arc::clone(&self.handled), Arc::clone(&self.running), self.after);
        Box::pin(async move {
            running.fetch_add(1, Ordering::SeqCst);
            if !after.is_zero() {
                tokio::time::sleep(after).await;
            }
            running.fetch_sub(1, Ordering::SeqCst);
            handled.fetch_add(1, Ordering::SeqCst);
            Answered::Replied { payload: incoming.payload, replayed: false }
        })
    }
}

/// Never answers.
#[derive(Debug)]
pub(crate) struct Silent;

impl Serve for Silent {
    fn serve(&self, _incoming: Incoming) -> BoxFuture<'static, Answered> {
        Box::pin(std::future::pending())
    }
}

/// Answers as the function says.
pub(crate) struct Answers<F>(pub(crate) F);

impl<F: Fn(Incoming) -> Answered + Send + Sync + 'static> Serve for Answers<F> {
    fn serve(&self, incoming: Incoming) -> BoxFuture<'static, Answered> {
        let answered = (self.0)(incoming);
        Box::pin(async move { answered })
    }
}

pub(crate) fn replied(answered: Result<Answered, TransportError>) -> String {
    match answered {
        Ok(Answered::Replied { payload, .. }) => text(&payload),
        other => panic!("no reply but {other:?}"),
    }
}

pub(crate) fn failed(answered: Result<Answered, TransportError>) -> Failed {
    match answered {
        Ok(Answered::Failed(failed)) => failed,
        other => panic!("no failure but {other:?}"),
    }
}

type Settling = Box<dyn Fn(&Incoming) -> BoxFuture<'static, Settled> + Send + Sync>;

/// Remembers what it got, in order, and says what the function says.
pub(crate) struct Recorder {
    pub(crate) seen: Mutex<Vec<Incoming>>,
    pub(crate) caught_up: AtomicUsize,
    settle: Settling,
}

impl Recorder {
    pub(crate) fn new() -> Arc<Self> {
        Self::settling(|_| Box::pin(async { Settled::Done }))
    }
    pub(crate) fn settling(
        settle: impl Fn(&Incoming) -> BoxFuture<'static, Settled> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { seen: Mutex::default(), caught_up: AtomicUsize::new(0), settle: Box::new(settle) })
    }
    pub(crate) fn texts(&self) -> Vec<String> {
        self.seen.lock().expect("not poisoned").iter().map(|incoming| text(&incoming.payload)).collect()
    }
    /// How often each was seen.
    pub(crate) fn counts(&self) -> BTreeMap<String, usize> {
        self.texts().into_iter().fold(BTreeMap::new(), |mut counts, text| {
            *counts.entry(text).or_default() += 1;
            counts
        })
    }
    pub(crate) async fn has_seen(&self, distinct: usize) {
        convoke_testing::eventually_within(Duration::from_secs(15), "all events arrived", || async {
            let seen = self.counts().len();
            if seen >= distinct { Ok(()) } else { Err(format!("{seen} of {distinct}")) }
        })
        .await;
    }
}

impl Consume for Recorder {
    fn consume(&self, incoming: Incoming) -> BoxFuture<'static, Settled> {
        let settled = (self.settle)(&incoming);
        self.seen.lock().expect("not poisoned").push(incoming);
        settled
    }
    fn caught_up(&self) {
        self.caught_up.fetch_add(1, Ordering::SeqCst);
    }
}

/// Messages in a stream.
pub(crate) async fn stored(server: &NatsServer, stream: &str) -> u64 {
    let client = async_nats::connect(server.url()).await.expect("a client");
    let stream = async_nats::jetstream::new(client).get_stream(stream).await.expect("a stream");
    stream.cached_info().state.messages
}

/// Publishes numbered events and waits for each to be stored.
pub(crate) async fn publish(node: &Transport, name: &'static str, numbers: std::ops::Range<usize>) {
    for n in numbers {
        node.publish(event(name, &n.to_string()), soon(10)).await.expect("it is stored");
    }
}
