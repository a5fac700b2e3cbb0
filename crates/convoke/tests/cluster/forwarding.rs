//! What a request keeps on its way to the leader, and how often it goes.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use convoke::{
    Answered, BoxFuture, Config, Executed, Forwarder, LeaderInfo, Leadership, Limits, Mediator, Outgoing,
    SendError, TransportError, TransportErrorKind, frame,
};
use tokio::time::{Instant, timeout_at};

use super::world::{Do, Forward, Member, World, leader_of};

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A user's own forwarder: bytes, from one mediator to the other. It counts what each node sends.
#[derive(Clone, Default)]
struct ByHand {
    nodes: Arc<Mutex<HashMap<String, Mediator>>>,
    sent: Arc<AtomicUsize>,
    away: Arc<AtomicUsize>,
    silent: bool,
}

impl ByHand {
    fn knows(&self, node: &Member) {
        let mediator = node.node().mediator();
        self.nodes.lock().unwrap().insert(mediator.node().to_owned(), mediator);
    }
    fn sent(&self) -> usize {
        self.sent.load(Ordering::SeqCst)
    }
}

impl Forwarder for ByHand {
    fn forward<'a>(
        &'a self,
        leader: &'a LeaderInfo,
        request: Outgoing,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Answered, TransportError>> {
        Box::pin(async move {
            self.sent.fetch_add(1, Ordering::SeqCst);
            if self.away.load(Ordering::SeqCst) > 0 {
                self.away.fetch_sub(1, Ordering::SeqCst);
                return Err(TransportError::new(TransportErrorKind::Unavailable, "no route"));
            }
            let request = frame::request(&request)?;
            if self.silent {
                std::future::pending::<()>().await;
            }
            let there = self.nodes.lock().unwrap()[&leader.node].clone();
            let incoming = frame::read_request(&request, &there.limits()).unwrap();
            let answered = timeout_at(deadline, there.handle_forwarded(incoming)).await;
            let answered = answered.map_err(|_| TransportErrorKind::TimedOut)?;
            frame::read_answer(&frame::answer(answered), &Limits::default())
        })
    }
}

/// Two nodes, each with a forwarder of its own.
async fn pair(world: &World, by_hand: [&ByHand; 2]) -> [Member; 2] {
    let [first, second] = by_hand;
    let apps = [world.app("n1").forwarder(first.clone()), world.app("n2").forwarder(second.clone())];
    let pair = Member::all(apps).await;
    for node in &pair {
        by_hand.iter().for_each(|by_hand| by_hand.knows(node));
    }
    pair
}

fn follows(node: &str) -> Leadership {
    Leadership::Follower { leader: LeaderInfo { node: node.to_owned(), http: None, term: 1 } }
}

#[tokio::test(start_paused = true)]
async fn a_forwarded_request_keeps_what_its_sender_gave_it() {
    for by_the_bus in [true, false] {
        let world = World::default();
        let by_hand = ByHand::default();
        let [n1, _n2] = if by_the_bus {
            world.nodes(["n1", "n2"]).await
        } else {
            pair(&world, [&by_hand, &by_hand]).await
        };
        world.elections.elect("n2");
        let send = n1.send(super::world::Once(Do::Reply)).local();
        let send = send.idempotency_key("k-1").header("tenant", "acme").timeout(Duration::from_millis(4321));
        let answer = traced(send.into_future()).await.unwrap();
        assert_eq!((&*answer.node, answer.key.as_deref()), ("n2", Some("k-1")));
        assert_eq!((answer.tenant.as_deref(), answer.trace.as_deref()), (Some("acme"), Some(TRACE)));
        assert_eq!(answer.correlation, answer.id, "it started itself");
        assert!((4000..=4321).contains(&answer.remaining_ms), "{answer:?}");
        assert_eq!(by_hand.sent(), usize::from(!by_the_bus));
        let refused = n1.send(Forward(Do::Refuse)).local().await.unwrap_err();
        assert_eq!(refused.rejected().map(|refusal| &*refusal.code), Some("no"), "a refusal keeps its type");
        let failed = n1.send(Forward(Do::Fault)).local().await.unwrap_err();
        assert!(matches!(&failed, SendError::Faulted(text) if text == "the disk is full"), "{failed:?}");
    }
}

/// Runs under a span, as a request that came with a trace context does.
async fn traced<T>(future: impl Future<Output = T>) -> T {
    use opentelemetry::{context::FutureExt as _, trace::TraceContextExt as _};
    let span = convoke::trace::parse(TRACE).unwrap();
    future.with_context(opentelemetry::Context::new().with_remote_span_context(span)).await
}

#[tokio::test(start_paused = true)]
async fn two_nodes_that_believe_in_each_other_hand_a_request_over_once_and_refuse_it() {
    let world = World::default();
    let by_hand = [ByHand::default(), ByHand::default()];
    let [n1, _n2] = pair(&world, [&by_hand[0], &by_hand[1]]).await;
    world.elections.member("n1").believes(follows("n2"));
    world.elections.member("n2").believes(follows("n1"));
    let asked = Instant::now();
    let refused = leader_of(n1.send(Forward(Do::Reply)).local().await);
    assert_eq!(refused.as_deref(), Some("n1"), "as the last one who was asked believes");
    assert_eq!(by_hand[1].sent(), 0, "who was asked as the leader asks nobody");
    assert!(by_hand[0].sent() <= 21, "{} times in {:?}", by_hand[0].sent(), asked.elapsed());
    assert!(asked.elapsed() <= Config::default().leader_wait + Duration::from_millis(100));
    assert_eq!(world.ran(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_believes_to_follow_itself_asks_nobody() {
    let world = World::default();
    let by_hand = ByHand::default();
    let [n1, _n2] = pair(&world, [&by_hand, &by_hand]).await;
    world.elections.member("n1").believes(follows("n1"));
    assert_eq!(leader_of(n1.send(Forward(Do::Reply)).local().await).as_deref(), Some("n1"));
    assert_eq!(by_hand.sent(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_be_reached_is_tried_again() {
    let world = World::default();
    let by_hand = ByHand::default();
    let [n1, _n2] = pair(&world, [&by_hand, &by_hand]).await;
    world.elections.elect("n2");
    by_hand.away.store(2, Ordering::SeqCst);
    assert_eq!(n1.send(Forward(Do::Reply)).local().await.unwrap().node, "n2");
    assert_eq!((by_hand.sent(), world.ran().len()), (3, 1));
    by_hand.away.store(usize::MAX, Ordering::SeqCst);
    let failed = n1.send(Forward(Do::Reply)).local().await.unwrap_err();
    assert_eq!(failed.executed(), Executed::No);
    assert!(failed.to_string().contains("n2 at http://n2:8081: broker unavailable: no route"), "{failed}");
}

#[tokio::test(start_paused = true)]
async fn a_forward_takes_no_longer_than_its_own_time_nor_than_the_request() {
    let world = World::default();
    let silent = ByHand { silent: true, ..ByHand::default() };
    let mut config = Config::default();
    config.forward_timeout = Duration::from_secs(3);
    let [n1] = Member::all([world.app("n1").config(config).forwarder(silent)]).await;
    world.elections.member("n2");
    world.elections.elect("n2");
    for (timeout, takes) in [(10_000, 3000), (1000, 1000)] {
        let asked = Instant::now();
        let failed = n1.send(Forward(Do::Reply)).timeout(Duration::from_millis(timeout)).await.unwrap_err();
        assert!(matches!(failed, SendError::TimedOut), "it may have run: {failed:?}");
        assert!(asked.elapsed().abs_diff(Duration::from_millis(takes)) < Duration::from_millis(20));
    }
}
