//! Nodes that are full, stuck or standing still.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use convoke_core::{
    Answered, BoxFuture, Expiry, Failed, Incoming, Outgoing, Serve, Transport as _, TransportErrorKind,
    TransportHealth,
};
use convoke_nats::Transport;
use convoke_testing::{eventually, eventually_within};
use tokio::sync::watch;

use crate::support::{
    Echo, command, config, connect, failed, identity, node, replied, serve, server, soon, text,
};

const PLACE: &str = "orders.place.v1";
const PLACES: usize = 2;

/// Has two places, whose requests wait until it is let go; refuses others.
struct Full {
    waiting: Arc<AtomicUsize>,
    handled: Arc<AtomicUsize>,
    gate: watch::Receiver<bool>,
}

impl Serve for Full {
    fn serve(&self, incoming: Incoming) -> BoxFuture<'static, Answered> {
        let (waiting, handled, mut gate) = (self.waiting.clone(), self.handled.clone(), self.gate.clone());
        Box::pin(async move {
            if waiting.fetch_add(1, Ordering::SeqCst) >= PLACES {
                waiting.fetch_sub(1, Ordering::SeqCst);
                return Answered::Failed(Failed::Overloaded);
            }
            gate.wait_for(|open| *open).await.expect("the test goes on");
            waiting.fetch_sub(1, Ordering::SeqCst);
            handled.fetch_add(1, Ordering::SeqCst);
            Answered::Replied { payload: incoming.payload, replayed: false }
        })
    }
}

#[tokio::test]
async fn a_node_whose_handlers_are_stuck_leaves_its_group_and_comes_back_when_they_go_on() {
    let Some(server) = server("stuck").await else { return };
    let (stuck, well) = (node(&server.url(), "n1").await, node(&server.url(), "n2").await);
    let caller = node(&server.url(), "caller").await;
    let (open, gate) = watch::channel(false);
    let full = Arc::new(Full { waiting: Arc::default(), handled: Arc::default(), gate });
    let (waiting, handled) = (Arc::clone(&full.waiting), Arc::clone(&full.handled));
    serve(&stuck, PLACE, full).await;
    let first: Vec<_> = (0..PLACES)
        .map(|_| {
            let caller = Arc::clone(&caller);
            tokio::spawn(async move { caller.request(command(PLACE, "first"), soon(60)).await })
        })
        .collect();
    eventually("its places are taken", || async { waiting.load(Ordering::SeqCst) == PLACES }).await;
    let refusal = failed(caller.request(command(PLACE, "refused"), soon(5)).await);
    assert!(matches!(refusal, Failed::Overloaded), "{refusal:?}");
    serve(&well, PLACE, Echo::after(Duration::ZERO)).await;
    let refused_of = |requests: usize| {
        let caller = Arc::clone(&caller);
        async move {
            let mut refused = 0;
            for _ in 0..requests {
                let answered = caller.request(command(PLACE, "x"), soon(5)).await;
                refused += usize::from(matches!(answered, Ok(Answered::Failed(Failed::Overloaded))));
            }
            refused
        }
    };
    assert!(refused_of(50).await > 0, "it has its share while it is only busy");
    eventually_within(Duration::from_secs(8), "others get all requests", || async {
        let refused = refused_of(50).await;
        if refused == 0 { Ok(()) } else { Err(refused) }
    })
    .await;
    assert_eq!(stuck.counters().stuck, 1);
    assert!(stuck.warnings()[0].contains("stuck"), "{:?}", stuck.warnings());
    open.send_replace(true);
    for first in first {
        assert_eq!(replied(first.await.expect("it ends")), "first", "what it had in hand was answered");
    }
    eventually("it has its share again", || async {
        refused_of(20).await;
        handled.load(Ordering::SeqCst) > PLACES
    })
    .await;
}

/// Blocks its thread for a request that says so, as no handler should, and keeps what it got.
#[derive(Default)]
struct Blocking {
    blocked: AtomicBool,
    seen: Arc<std::sync::Mutex<Vec<String>>>,
}

const BLOCKED: Duration = Duration::from_millis(2500);

impl Serve for Blocking {
    fn serve(&self, incoming: Incoming) -> BoxFuture<'static, Answered> {
        let content = text(&incoming.payload);
        if content == "block" && !self.blocked.swap(true, Ordering::SeqCst) {
            std::thread::sleep(BLOCKED);
        }
        self.seen.lock().expect("not poisoned").push(content);
        Box::pin(async move { Answered::Replied { payload: incoming.payload, replayed: false } })
    }
}

fn within(content: &str, time: Duration) -> Outgoing {
    let mut message = command(PLACE, content);
    message.envelope.expiry = Some(Expiry::after(time));
    message
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stood_still_refuses_what_its_callers_gave_up() {
    let Some(server) = server("stood still").await else { return };
    let url = server.url();
    let blocking = Arc::new(Blocking::default());
    let (seen, served) = (Arc::clone(&blocking.seen), watch::channel(None::<Arc<Transport>>));
    let (stop, mut stopped) = watch::channel(false);
    let tell = served.0.clone();
    let standing = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            let member = connect(&url).await;
            member.open(&identity("n1")).await.expect("it opens");
            serve(&member, PLACE, blocking).await;
            tell.send_replace(Some(member));
            stopped.wait_for(|stop| *stop).await.expect("the test goes on");
        });
    });
    let mut there = served.1.clone();
    let member = there.wait_for(Option::is_some).await.expect("it starts").clone().expect("it is there");
    let caller = node(&server.url(), "caller").await;
    tokio::time::sleep(Duration::from_millis(600)).await; // its heart beats
    let blocks = {
        let caller = Arc::clone(&caller);
        tokio::spawn(async move { caller.request(within("block", Duration::from_secs(20)), soon(20)).await })
    };
    tokio::time::sleep(Duration::from_millis(200)).await; // it stands still now
    let patient = {
        let caller = Arc::clone(&caller);
        tokio::spawn(
            async move { caller.request(within("patient", Duration::from_secs(20)), soon(20)).await },
        )
    };
    for n in 0..5 {
        let hasty = within(&format!("hasty {n}"), Duration::from_millis(300));
        let deadline = tokio::time::Instant::now() + Duration::from_millis(300);
        let error = caller.request(hasty, deadline).await.expect_err("nobody answers in time");
        assert_eq!(error.kind(), TransportErrorKind::TimedOut);
    }
    assert_eq!(replied(blocks.await.expect("it ends")), "block");
    assert_eq!(replied(patient.await.expect("it ends")), "patient");
    assert_eq!(*seen.lock().expect("not poisoned"), ["block", "patient"], "no work for nobody");
    eventually("it says that it stood still", || async {
        let counters = member.counters();
        let told = member.warnings().iter().any(|warning| warning.contains("stood still"));
        if counters.stalls >= 1 && counters.stale_requests == 5 && told { Ok(()) } else { Err(counters) }
    })
    .await;
    drop((member, served, there));
    stop.send_replace(true);
    standing.join().expect("it ends well");
}

#[tokio::test]
async fn a_stream_without_room_is_counted_and_told() {
    let Some(server) = server("no room").await else { return };
    let small = config(&server.url()).jobs(|jobs| jobs.waiting_max = 2);
    let one = Transport::connect_with(small).await.expect("a good configuration");
    one.open(&identity("n1")).await.expect("it opens");
    let mut full = None;
    for n in 0..3 {
        full = one.enqueue(command(PLACE, &n.to_string()), None, soon(10)).await.err();
    }
    let full = full.expect("the third one finds no room");
    assert_eq!(full.kind(), TransportErrorKind::Unavailable, "{full}");
    assert_eq!(one.counters().no_room, 1);
    let warnings = one.warnings();
    assert!(warnings[0].contains("no room") && warnings[0].contains("10077"), "{warnings:?}");
    eventually("the node has other work", || async {
        match one.health() {
            TransportHealth::Up => Ok(()),
            other => Err(other),
        }
    })
    .await;
}

#[tokio::test]
async fn a_server_without_storage_says_so_in_the_nodes_health() {
    let builder = convoke_testing::servers::NatsServer::builder();
    let builder = builder.config_text("jetstream { max_file_store: 16MB }");
    let Some(server) = builder.start_or_skip("little storage").await else { return };
    let one = connect(&server.url()).await;
    one.open(&identity("n1")).await.expect("it opens, and goes on trying");
    eventually("its health tells", || async {
        match one.health() {
            TransportHealth::Down(why) if why.contains("insufficient storage") && why.contains("10047") => {
                Ok(())
            }
            other => Err(other),
        }
    })
    .await;
}
