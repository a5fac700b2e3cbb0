//! Poison among many: it holds up nobody, lies with the dead letters, and comes back once when the fault is repaired.
//!
//! The short form runs with the other tests; `CONVOKE_SOAK=1` asks for 1,000 among 100,000.
#![cfg(feature = "nats")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use convoke::{
    App, Command, Config, DeadLetters, Event, Failure, Handled, Letter, LetterFilter, Node, Outcome, State,
    handler, nats,
};
use convoke_testing::{eventually_within, servers::NatsServer};
use serde::{Deserialize, Serialize};

/// Each hundredth message is poison.
const EVERY: u32 = 100;
/// How much slower the rest may be than without poison.
const SLOWER_MAX: f64 = 0.2;
/// Measured again when the machine was busy with something else.
const TRIES: usize = 3;
const PATIENCE: Duration = Duration::from_secs(600);

#[derive(Debug, Clone, Serialize, Deserialize, Event)]
#[event(name = "poison.noted.v1", key = key)]
struct Noted {
    key: u32,
    number: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize, Command)]
#[command(name = "poison.note.v1")]
struct Note {
    number: u32,
}

/// How often each number was handled, and whether poison can be.
#[derive(Clone)]
struct World(Arc<Inner>);

struct Inner {
    handled: Vec<AtomicU32>,
    count: AtomicUsize,
    poisoned: AtomicBool,
}

impl World {
    fn new(messages: u32) -> Self {
        let handled = (0..messages).map(|_| AtomicU32::new(0)).collect();
        Self(Arc::new(Inner { handled, count: AtomicUsize::new(0), poisoned: AtomicBool::new(false) }))
    }

    fn handle<E>(&self, number: u32) -> Result<(), Failure<E>> {
        if is_poison(number) && self.0.poisoned.load(Ordering::SeqCst) {
            // half of it at the first run, half of it after all attempts
            let error = io::Error::other(format!("{number} is poison"));
            return Err(if number.is_multiple_of(2 * EVERY) {
                Failure::poison(error)
            } else {
                Failure::fault(error)
            });
        }
        if self.0.handled[number as usize].fetch_add(1, Ordering::SeqCst) == 0 {
            self.0.count.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }

    async fn has_handled(&self, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.0.count.load(Ordering::SeqCst) < count {
            let handled = self.0.count.load(Ordering::SeqCst);
            assert!(Instant::now() < deadline, "{handled} of {count} were handled");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn is_poison(number: u32) -> bool {
    number.is_multiple_of(EVERY)
}

#[handler]
async fn notes(event: Noted, State(world): State<World>) -> Handled {
    world.handle(event.number)
}

#[handler]
async fn notes_for_good(cmd: Note, State(world): State<World>) -> Outcome<Note> {
    world.handle(cmd.number)
}

async fn node(server: &NatsServer, world: &World) -> Node {
    let transport = nats::Transport::connect(server.url()).await.unwrap();
    let stores = transport.stores();
    let mut config = Config::default();
    config.backoff = Duration::from_millis(20);
    let app = App::new("poison").node("n1").config(config).transport(transport).stores(stores);
    let node = app.state(world.clone()).function(notes).function(notes_for_good).start().await.unwrap();
    node.ready(Duration::from_secs(20)).await.unwrap();
    node
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Sent {
    Published,
    Enqueued,
}

/// Sends all, and answers how many of those that are no poison were handled in a second.
async fn rate(node: &Node, world: &World, sent: Sent, messages: u32, rest: usize) -> f64 {
    let mediator = node.mediator();
    let started = Instant::now();
    let mut senders = tokio::task::JoinSet::new();
    for lane in 0..64 {
        let mediator = mediator.clone();
        senders.spawn(async move {
            for number in (lane..messages).step_by(64) {
                match sent {
                    Sent::Published => drop(mediator.publish(Noted { key: number, number }).await.unwrap()),
                    Sent::Enqueued => drop(mediator.enqueue(Note { number }).await.unwrap()),
                }
            }
        });
    }
    while let Some(sender) = senders.join_next().await {
        sender.unwrap();
    }
    world.has_handled(rest).await;
    f64::from(u32::try_from(rest).unwrap()) / started.elapsed().as_secs_f64()
}

async fn letters(letters: &dyn DeadLetters, count: usize) -> Vec<Letter> {
    eventually_within(PATIENCE, "the letters lie there", || async {
        let (mut all, mut after) = (Vec::new(), 0);
        loop {
            let by = tokio::time::Instant::now() + Duration::from_secs(30);
            let page = letters.list(&LetterFilter::all(), after, 1000, by).await.unwrap();
            all.extend(page.letters);
            let Some(next) = page.next else { break };
            after = next;
        }
        if all.len() == count { Ok(all) } else { Err(all.len()) }
    })
    .await
}

/// How many of the rest were handled in a second, when everything else was as it should be.
async fn run(server: &NatsServer, sent: Sent, messages: u32, poisoned: bool) -> f64 {
    let poison = (0..messages).filter(|number| is_poison(*number)).count();
    let rest = messages as usize - poison;
    let world = World::new(messages);
    world.0.poisoned.store(poisoned, Ordering::SeqCst);
    let node = node(server, &world).await;
    let rate = rate(&node, &world, sent, messages, rest).await;
    if poisoned {
        comes_through_once(&node, &world, poison).await;
    }
    world.has_handled(messages as usize).await;
    node.stop().await;
    let others = world.0.handled.iter().filter(|times| times.load(Ordering::SeqCst) != 1).count();
    assert_eq!(others, 0, "each was handled once");
    rate
}

/// All poison lies with the dead letters; it is repaired, and replayed.
async fn comes_through_once(node: &Node, world: &World, poison: usize) {
    let dead = node.dead_letters().unwrap();
    let found = letters(&*dead, poison).await;
    for Letter { letter, .. } in &found {
        assert!(letter.errors[0].ends_with("is poison"), "{:?}", letter.errors);
        assert!(letter.attempts == 1 || letter.attempts == 5, "{}", letter.attempts);
    }
    world.0.poisoned.store(false, Ordering::SeqCst);
    for Letter { number, .. } in found {
        let by = tokio::time::Instant::now() + Duration::from_secs(30);
        assert!(dead.replay(number, by).await.unwrap());
    }
    letters(&*dead, 0).await;
}

async fn holds_up_nobody(sent: Sent) {
    let messages = if convoke_testing::is_soak() { 100_000 } else { 4_000 };
    let mut ratios = Vec::new();
    for _ in 0..TRIES {
        let Some(one) = NatsServer::start_or_skip("poison among many").await else { return };
        let Some(other) = NatsServer::start_or_skip("and none").await else { return };
        // side by side: what else the machine does slows both alike
        let (poisoned, clean) =
            tokio::join!(run(&one, sent, messages, true), run(&other, sent, messages, false));
        println!(
            "{sent:?}, {messages} messages: {clean:.0}/s without poison, {poisoned:.0}/s of the rest with it"
        );
        ratios.push(poisoned / clean);
        if poisoned >= clean * (1.0 - SLOWER_MAX) {
            return;
        }
    }
    panic!("the rest was held up each time: {ratios:?} of the rate without poison");
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_among_events_holds_up_nobody_and_comes_through_once_when_it_is_repaired() {
    holds_up_nobody(Sent::Published).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_among_commands_holds_up_nobody_and_comes_through_once_when_it_is_repaired() {
    holds_up_nobody(Sent::Enqueued).await;
}
