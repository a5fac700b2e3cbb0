//! Dead letters that come back: to the handler that gave up and to nobody else, once.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use convoke::{App, Command, Context, Event, Handled, LetterFilter, Outcome, Rejection, State, handler};
use convoke_testing::TestApp;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// What ran, and whether the fault is repaired.
#[derive(Clone, Default)]
struct World(Arc<(Mutex<Vec<String>>, AtomicBool)>);

impl World {
    fn note(&self, line: impl Into<String>) {
        self.0.0.lock().unwrap().push(line.into());
    }
    fn lines(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.0.lock().unwrap())
    }
    fn repair(&self) {
        self.0.1.store(true, Ordering::SeqCst);
    }
    fn works(&self) -> io::Result<()> {
        if self.0.1.load(Ordering::SeqCst) { Ok(()) } else { Err(io::Error::other("broken")) }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, Event)]
#[event(name = "letters.placed.v1", key = number)]
struct Placed {
    number: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize, Command)]
#[command(name = "letters.ship.v1", reply = u32, error = Rejection, idempotent)]
struct Ship(u32);

#[handler]
async fn mails(event: Placed, cx: &Context, State(world): State<World>) -> Handled {
    if cx.node() == "n1" {
        world.works()?;
    }
    world.note(format!("{} mails {}", cx.node(), event.number));
    Ok(())
}

#[handler]
async fn counts(event: Placed, cx: &Context, State(world): State<World>) -> Handled {
    world.note(format!("{} counts {}", cx.node(), event.number));
    Ok(())
}

#[handler(group = "billing")]
async fn bills(event: Placed, State(world): State<World>) -> Handled {
    if event.number >= 100 {
        world.works()?;
    }
    world.note(format!("bills {}", event.number));
    Ok(())
}

#[handler]
async fn ships(Ship(n): Ship, State(world): State<World>) -> Outcome<Ship> {
    if n == 0 && world.works().is_err() {
        Err(Rejection::new("zero", "nothing to ship"))?;
    }
    world.works()?;
    world.note(format!("ships {n}"));
    Ok(n)
}

fn app(node: &str, world: &World) -> App {
    App::new("letters").node(node).state(world.clone()).discover()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

/// Replays all there is, and waits until it is handled.
async fn replay_all(app: &TestApp) -> usize {
    let letters = app.bus().letters();
    let page = letters.list(&LetterFilter::all(), 0, 1000, soon()).await.unwrap();
    for letter in &page.letters {
        assert!(letters.replay(letter.number, soon()).await.unwrap());
    }
    app.settled().await;
    page.letters.len()
}

#[tokio::test(start_paused = true)]
async fn a_replay_runs_the_handler_that_gave_up_on_its_node_and_nobody_else() {
    let world = World::default();
    let one = TestApp::start(app("n1", &world)).await;
    let _two = one.start_beside(app("n2", &world)).await;
    one.publish(Placed { number: 1 }).await.unwrap();
    one.settled().await;
    let mut lines = world.lines();
    lines.sort();
    assert_eq!(lines, ["bills 1", "n1 counts 1", "n2 counts 1", "n2 mails 1"]);
    let dead = one.dead_letters();
    assert_eq!((dead.len(), dead[0].handler.as_str(), dead[0].node.as_str()), (1, "mails", "n1"));
    world.repair();
    assert_eq!(replay_all(&one).await, 1);
    assert_eq!(world.lines(), ["n1 mails 1"]);
    assert!(one.dead_letters().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_replay_that_is_delivered_twice_runs_once() {
    let world = World::default();
    let one = TestApp::start(app("n1", &world)).await;
    one.publish(Placed { number: 100 }).await.unwrap();
    one.enqueue(Ship(1)).await.unwrap();
    one.settled().await;
    assert_eq!(world.lines(), ["n1 counts 100"]);
    world.repair();
    one.deliver_twice();
    one.redeliver();
    assert_eq!(replay_all(&one).await, 3);
    let mut lines = world.lines();
    lines.sort();
    assert_eq!(lines, ["bills 100", "n1 mails 100", "ships 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_replay_that_gives_up_again_is_a_new_letter_and_can_be_replayed_again() {
    let world = World::default();
    let one = TestApp::start(app("n1", &world)).await;
    one.publish(Placed { number: 100 }).await.unwrap();
    one.enqueue(Ship(1)).await.unwrap();
    one.settled().await;
    for replays in 1..=2 {
        assert_eq!(replay_all(&one).await, 3);
        let dead: Vec<_> =
            one.dead_letters().iter().map(|letter| (letter.replays, letter.attempts)).collect();
        assert_eq!(dead, [(replays, 5); 3]);
    }
    world.repair();
    world.lines();
    assert_eq!(replay_all(&one).await, 3);
    let mut lines = world.lines();
    lines.sort();
    assert_eq!(lines, ["bills 100", "n1 mails 100", "ships 1"]);
    assert!(one.dead_letters().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_dead_command_has_no_outcome_and_its_replay_runs_unless_another_completed_it() {
    let world = World::default();
    let one = TestApp::start(app("n1", &world)).await;
    for (n, key) in [(0, "refused"), (1, "faulted"), (2, "completed-by-a-sender")] {
        one.enqueue(Ship(n)).idempotency_key(key).await.unwrap();
    }
    one.settled().await;
    assert_eq!(one.dead_letters().len(), 3);
    world.repair();
    assert_eq!(one.send(Ship(2)).idempotency_key("completed-by-a-sender").await.unwrap(), 2);
    assert_eq!(world.lines(), ["ships 2"]);
    assert_eq!(replay_all(&one).await, 3);
    let mut lines = world.lines();
    lines.sort();
    assert_eq!(lines, ["ships 0", "ships 1"]);
    assert_eq!(one.send(Ship(1)).idempotency_key("faulted").await.unwrap(), 1, "and this is its outcome");
    assert!(world.lines().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_replay_for_a_handler_that_is_gone_is_kept_and_says_so() {
    let world = World::default();
    let one = TestApp::start(app("n1", &world)).await;
    one.publish(Placed { number: 1 }).await.unwrap();
    one.settled().await;
    let one = one.restart(App::new("letters").node("n1").state(world.clone()).function(counts)).await;
    world.repair();
    world.lines();
    assert_eq!(replay_all(&one).await, 1);
    let dead = one.dead_letters();
    assert_eq!(dead[0].errors, ["node `n1` has no handler `mails` for letters.placed.v1 any more"]);
    let one = one.restart(app("n1", &world)).await;
    assert_eq!(replay_all(&one).await, 1);
    assert_eq!(world.lines(), ["n1 mails 1"]);
}

#[cfg(feature = "nats")]
mod over_nats {
    use convoke::{Config, DeadLetters, Letter, Node, nats};
    use convoke_testing::{eventually, servers::NatsServer};

    use super::*;

    /// The shortest that the server takes.
    const DUPLICATE_WINDOW: Duration = Duration::from_millis(100);

    async fn node(server: &NatsServer, id: &str, world: &World) -> Node {
        let config =
            nats::Config::new(server.url()).events(|events| events.duplicate_window = DUPLICATE_WINDOW);
        let transport = nats::Transport::connect_with(config).await.unwrap();
        let stores = transport.stores();
        let mut config = Config::default();
        config.backoff = Duration::from_millis(5);
        let node = app(id, world).config(config).transport(transport).stores(stores).start().await.unwrap();
        node.ready(Duration::from_secs(20)).await.unwrap();
        node
    }

    async fn there_are(letters: &dyn DeadLetters, count: usize) -> Vec<Letter> {
        eventually("the letters lie there", || async {
            let found = letters.list(&LetterFilter::all(), 0, 1000, soon()).await.unwrap().letters;
            if found.len() == count { Ok(found) } else { Err(found.len()) }
        })
        .await
    }

    /// Stores each letter once more, as a node does that died behind its burial and comes back when the server has
    /// forgotten the id.
    async fn double(server: &NatsServer, letters: &[Letter]) {
        let client = nats::async_nats::connect(server.url()).await.unwrap();
        let stream =
            nats::async_nats::jetstream::new(client.clone()).get_stream("CONVOKE_DEAD").await.unwrap();
        for letter in letters {
            let mut raw = stream.get_raw_message(letter.number).await.unwrap();
            raw.headers.insert("Nats-Msg-Id", format!("again-{}", letter.number));
            client.publish_with_headers(raw.subject, raw.headers, raw.payload).await.unwrap();
        }
        client.flush().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_failure_with_two_letters_and_two_replays_runs_once() {
        let Some(server) = NatsServer::start_or_skip("two letters").await else { return };
        let world = World::default();
        let one = node(&server, "n1", &world).await;
        let _two = node(&server, "n2", &world).await;
        one.mediator().publish(Placed { number: 100 }).await.unwrap();
        one.mediator().enqueue(Ship(1)).await.unwrap();
        let letters = one.dead_letters().unwrap();
        let first = there_are(&*letters, 3).await;
        double(&server, &first).await;
        let all = there_are(&*letters, 6).await;
        world.repair();
        world.lines();
        for letter in &all {
            tokio::time::sleep(DUPLICATE_WINDOW * 2).await; // so that the server takes the second for a new one
            assert!(letters.replay(letter.number, soon()).await.unwrap());
        }
        let client = nats::async_nats::connect(server.url()).await.unwrap();
        let stream = nats::async_nats::jetstream::new(client).get_stream("CONVOKE_REPLAY").await.unwrap();
        eventually("all replays are settled", || async {
            let state = stream.get_info().await.unwrap().state;
            if (state.last_sequence, state.messages) == (6, 0) { Ok(()) } else { Err(state) }
        })
        .await;
        let mut lines = world.lines();
        lines.sort();
        assert_eq!(lines, ["bills 100", "n1 mails 100", "ships 1"]);
        there_are(&*letters, 0).await;
    }
}
