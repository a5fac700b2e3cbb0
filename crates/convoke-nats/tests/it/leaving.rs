//! Nodes come and go under load.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use convoke_core::{
    Answered, Audience, BoxFuture, Incoming, Serve, Settled, Transport as _, TransportErrorKind,
};
use convoke_nats::Transport;
use convoke_testing::{eventually, proxy::TcpProxy, servers::NatsServer};
use futures_util::future::join3;
use tokio::{sync::Semaphore, task::JoinSet, time::Instant};

use crate::support::{Echo, Recorder, Silent, command, consume, node, publish, serve, server, soon, up};

const PLACE: &str = "orders.place.v1";
const PLACED: &str = "orders.placed.v1";

/// Callers that go on until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    callers: JoinSet<Vec<String>>,
}

impl Load {
    fn start(node: &Arc<Transport>, callers: usize) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut set = JoinSet::new();
        for _ in 0..callers {
            let (node, stop, done) = (Arc::clone(node), Arc::clone(&stop), Arc::clone(&done));
            set.spawn(async move {
                let mut lost = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    match node.request(command(PLACE, "x"), soon(3)).await {
                        Ok(_) => drop(done.fetch_add(1, Ordering::SeqCst)),
                        Err(error) => lost.push(error.to_string()),
                    }
                }
                lost
            });
        }
        Self { stop, done, callers: set }
    }
    async fn has_done(&self, more: u64) {
        let target = self.done.load(Ordering::SeqCst) + more;
        eventually("requests go on", || async { self.done.load(Ordering::SeqCst) >= target }).await;
    }
    async fn end(self) -> (u64, Vec<String>) {
        self.stop.store(true, Ordering::SeqCst);
        let lost = self.callers.join_all().await.concat();
        (self.done.load(Ordering::SeqCst), lost)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_leave_under_load_lose_no_request() {
    let Some(server) = server("leave under load").await else { return };
    let (caller, stays) = (node(&server.url(), "caller").await, node(&server.url(), "stays").await);
    serve(&stays, PLACE, Echo::after(Duration::ZERO)).await;
    let load = Load::start(&caller, 32);
    for round in 0..12 {
        let leaves = node(&server.url(), "leaves").await;
        let echo = Echo::after(Duration::from_millis(if round % 2 == 0 { 0 } else { 20 }));
        serve(&leaves, PLACE, echo.clone()).await;
        load.has_done(200).await;
        eventually("it has its share", || async { echo.handled() > 20 }).await;
        let report = leaves.leave(soon(10)).await;
        assert_eq!(report.lost, 0);
        leaves.close(soon(5)).await;
    }
    let (done, lost) = load.end().await;
    assert!(done > 3000, "only {done} requests");
    assert_eq!(lost, Vec::<String>::new(), "of {done}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_whose_link_broke_before_leaves_without_loss_as_well() {
    let Some(server) = server("leave after a break").await else { return };
    let (caller, stays) = (node(&server.url(), "caller").await, node(&server.url(), "stays").await);
    serve(&stays, PLACE, Echo::after(Duration::ZERO)).await;
    for _ in 0..5 {
        let proxy = TcpProxy::to_port(server.port()).await.expect("a proxy");
        let leaves = node(&format!("nats://127.0.0.1:{}", proxy.port()), "leaves").await;
        let echo = Echo::after(Duration::ZERO);
        serve(&leaves, PLACE, echo.clone()).await;
        let warm = Load::start(&caller, 8);
        eventually("it has its share", || async { echo.handled() > 600 }).await;
        warm.end().await;
        proxy.cut();
        eventually("the link was made again", || async { proxy.connections() == 2 }).await;
        up(&leaves).await;
        let load = Load::start(&caller, 32);
        let before = echo.handled();
        eventually("it has its share again", || async { echo.handled() > before + 50 }).await;
        leaves.leave(soon(10)).await;
        leaves.close(soon(5)).await;
        load.has_done(200).await;
        let (done, lost) = load.end().await;
        assert_eq!(lost, Vec::<String>::new(), "of {done}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_long_on_its_way_to_a_leaving_member_is_answered() {
    let Some(server) = server("leave behind a slow link").await else { return };
    let proxy = TcpProxy::to_port(server.port()).await.expect("a proxy");
    let caller = node(&server.url(), "caller").await;
    let leaves = node(&format!("nats://127.0.0.1:{}", proxy.port()), "leaves").await;
    serve(&leaves, PLACE, Echo::after(Duration::ZERO)).await;
    proxy.blackhole();
    let mut calls = JoinSet::new();
    for _ in 0..300 {
        let caller = Arc::clone(&caller);
        calls.spawn(async move { caller.request(command(PLACE, "x"), soon(8)).await });
    }
    eventually("they are on their way", || async { caller.calls_waiting() == 300 }).await;
    let leaving = tokio::spawn(async move { leaves.leave(soon(8)).await });
    tokio::time::sleep(Duration::from_secs(1)).await; // so slow is the link
    proxy.heal();
    assert_eq!(leaving.await.expect("no panic").lost, 0);
    let lost = calls.join_all().await.into_iter().filter(Result::is_err).count();
    assert_eq!(lost, 0, "of 300");
}

/// Answers when the gate is opened, which is to close it: then nobody waits for a permit any more.
struct Gated {
    running: AtomicUsize,
    gate: Arc<Semaphore>,
}

impl Serve for Gated {
    fn serve(&self, incoming: Incoming) -> BoxFuture<'static, Answered> {
        self.running.fetch_add(1, Ordering::SeqCst);
        let gate = Arc::clone(&self.gate);
        Box::pin(async move {
            drop(gate.acquire().await);
            Answered::Replied { payload: incoming.payload, replayed: false }
        })
    }
}

/// Whether a reply arrives that was the last thing a member did, when its link stands still from when it has left.
async fn its_last_reply_arrives(server: &NatsServer, caller: &Transport) -> bool {
    let proxy = TcpProxy::to_port(server.port()).await.expect("a proxy");
    let leaves = node(&format!("nats://{}", proxy.address()), "leaves").await;
    let gated = Arc::new(Gated { running: AtomicUsize::new(0), gate: Arc::new(Semaphore::new(0)) });
    serve(&leaves, PLACE, gated.clone()).await;
    let runs = || async { gated.running.load(Ordering::SeqCst) > 0 };
    let leaving = async {
        eventually("it runs", runs).await;
        assert_eq!(leaves.leave(soon(10)).await.lost, 0);
        proxy.strand();
    };
    let opening = async {
        eventually("it runs", runs).await;
        eventually("the member is out of its group", || async {
            let probe = caller.request(command(PLACE, "probe"), Instant::now() + Duration::from_millis(500));
            probe.await.is_err_and(|error| error.kind() == TransportErrorKind::NoHandler)
        })
        .await;
        gated.gate.close();
    };
    let (reply, (), ()) = join3(caller.request(command(PLACE, "x"), soon(5)), leaving, opening).await;
    reply.is_ok()
}

#[tokio::test] // with one thread, nothing is written between the last step of a member and the end of its link
async fn a_member_that_left_has_written_its_replies() {
    let Some(server) = server("last replies").await else { return };
    let caller = node(&server.url(), "caller").await;
    let mut arrived = 0;
    for _ in 0..3 {
        arrived += usize::from(its_last_reply_arrives(&server, &caller).await);
    }
    assert!(
        arrived > 1,
        "{arrived} of 3: it waits a tenth of a second, and a slow machine may once take longer"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_are_long_on_their_way_to_a_leaving_node_are_given_back() {
    let Some(server) = server("give back behind a slow link").await else { return };
    let proxy = TcpProxy::to_port(server.port()).await.expect("a proxy");
    let publisher = node(&server.url(), "publisher").await;
    let leaves = node(&format!("nats://127.0.0.1:{}", proxy.port()), "leaves").await;
    let recorder = Recorder::new();
    consume(&leaves, Audience::Node, &[PLACED], recorder.clone()).await;
    publish(&publisher, PLACED, 0..1).await;
    recorder.has_seen(1).await;
    proxy.blackhole();
    publish(&publisher, PLACED, 1..31).await;
    let leaving = tokio::spawn(async move { leaves.leave(soon(8)).await });
    tokio::time::sleep(Duration::from_secs(1)).await; // so slow is the link
    proxy.heal();
    let report = leaving.await.expect("no panic");
    assert_eq!((report.handed_back, report.lost), (30, 0));
}

#[tokio::test]
async fn an_idle_member_leaves_soon_and_one_that_hangs_is_cut_off_at_the_deadline() {
    let Some(server) = server("leave in time").await else { return };
    let (one, two) = (node(&server.url(), "n1").await, node(&server.url(), "n2").await);
    serve(&one, PLACE, Echo::after(Duration::ZERO)).await;
    let started = Instant::now();
    one.leave(soon(10)).await;
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    serve(&two, PLACE, Arc::new(Silent)).await;
    let call = tokio::spawn({
        let one = Arc::clone(&one);
        async move { one.request(command(PLACE, "x"), soon(3)).await }
    });
    eventually("it is being handled", || async { one.calls_waiting() == 1 }).await;
    let started = Instant::now();
    let report = two.leave(soon(1)).await;
    assert_eq!(report.lost, 1);
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert!(call.await.expect("no panic").is_err());
}

#[tokio::test]
async fn a_member_of_a_group_that_leaves_gives_its_events_to_the_others_at_once() {
    let Some(server) = server("hand over").await else { return };
    let (one, two) = (node(&server.url(), "n1").await, node(&server.url(), "n2").await);
    let billing = Audience::Group("billing".to_owned());
    let stuck = Recorder::settling(|_| {
        Box::pin(async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            Settled::Done
        })
    });
    consume(&one, billing.clone(), &[PLACED], stuck.clone()).await;
    publish(&one, PLACED, 0..100).await; // more than may be in flight
    stuck.has_seen(64).await;
    let others = Recorder::new();
    consume(&two, billing, &[PLACED], others.clone()).await;
    let report = one.leave(soon(1)).await;
    assert_eq!(report.lost, 64);
    let left = Instant::now();
    one.close(soon(5)).await;
    others.has_seen(100).await;
    assert!(
        left.elapsed() < Duration::from_millis(1500),
        "the ack wait is 2 s, it took {:?}",
        left.elapsed()
    );
}
