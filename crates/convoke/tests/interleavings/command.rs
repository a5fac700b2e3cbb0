//! One command under one key on two nodes at once: who claims it runs it, and both callers get the one outcome. With
//! a lease that runs out in between, too.
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use convoke::{
    App, Claim, ClaimKey, Claimed, Codec, Command, Config, Context, Event, InProcess, Node, Outcome, State,
    Stores, fingerprint, handler, stores_in_process,
};
use convoke_testing::outside::{Effect, Ledger, Life, Turns, step};
use serde::{Deserialize, Serialize};
use tokio::{runtime::Builder, time::sleep};
use uuid::Uuid;

use super::words;

const LEASE: Duration = Duration::from_secs(3);
/// Longer than a lease, and shorter than storing an outcome or an event may take.
const LEASE_IS_OVER: Duration = Duration::from_secs(4);
/// How long a caller waits.
const PATIENCE: Duration = Duration::from_secs(300);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Command)]
#[command(name = "turns.place.v1", reply = String, idempotent)]
struct Place {
    looks: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
#[event(name = "turns.placed.v1")]
struct Placed {
    order: Uuid,
}

/// Orders by their id, and how many runs stored one.
#[derive(Clone, Default)]
struct Orders(Arc<Mutex<(BTreeMap<Uuid, String>, usize)>>);

/// Steps of a run that looks at nothing: its claim, its order, its event, its outcome.
const STEPS: usize = 4;

/// The reply tells one run from another.
#[handler]
async fn place(cmd: Place, cx: &Context, State(orders): State<Orders>) -> Outcome<Place> {
    let run = format!("{} by claim {}", cx.id(), cx.fence().unwrap());
    for _ in 0..cmd.looks {
        step("look", async {}).await;
    }
    let put = async {
        let mut orders = orders.0.lock().unwrap();
        orders.1 += 1;
        orders.0.entry(cx.id()).or_insert_with(|| run.clone());
    };
    step("put order", put).await;
    cx.publish(Placed { order: cx.id() });
    Ok(run)
}

/// What happens in a run: turns of the two nodes, and when a lease's time passes.
struct Script<'a> {
    word: &'a [usize],
    looks: usize,
    lease_over_before: Option<usize>,
}

/// What was seen.
#[derive(Debug)]
struct Ended {
    runs: usize,
    /// Completions that were tried, and those that counted.
    completions: (usize, usize),
}

struct World {
    place: InProcess,
    stores: Stores,
    turns: Arc<Turns>,
    ledger: Arc<Ledger>,
    orders: Orders,
}

impl World {
    fn config() -> Config {
        let mut config = Config::default();
        (config.request_timeout, config.attempt_timeout) = (PATIENCE, PATIENCE);
        (config.handler_timeout, config.lease) = (PATIENCE, LEASE);
        config
    }

    async fn start(&self, party: usize) -> Node {
        let life = Arc::new(Life::new(self.ledger.clone()).in_turns(self.turns.clone(), party));
        let app = App::new("turns").node(format!("n{party}")).state(self.orders.clone()).function(place);
        let app = app.config(Self::config()).behavior(life.watch());
        let app = app.transport(life.transport(self.place.another_node())).stores(life.stores(&self.stores));
        app.start().await.unwrap()
    }
}

async fn run(script: &Script<'_>) -> Ended {
    let (place, turns) = (InProcess::new(), Turns::free());
    place.bus().encode_always();
    let world = World {
        place,
        stores: stores_in_process(),
        turns,
        ledger: Arc::default(),
        orders: Orders::default(),
    };
    let nodes = [world.start(1).await, world.start(2).await];
    let caller =
        App::new("caller").node("caller").config(World::config()).transport(world.place.another_node());
    let caller = caller.start().await.unwrap();
    world.turns.hold();
    let mediator = caller.mediator();
    let command = Place { looks: script.looks };
    let ask = || {
        let (mediator, command) = (mediator.clone(), command.clone());
        tokio::spawn(async move { mediator.send(command).idempotency_key("k").await })
    };
    let asked = [ask(), ask()];
    for (at, party) in script.word.iter().enumerate() {
        if script.lease_over_before == Some(at) {
            sleep(LEASE_IS_OVER).await;
        }
        world.turns.rest().await;
        world.turns.next(*party);
    }
    if script.lease_over_before == Some(script.word.len()) {
        sleep(LEASE_IS_OVER).await;
    }
    world.turns.release();
    let [first, second] = asked;
    let replies = [first.await.unwrap().unwrap(), second.await.unwrap().unwrap()];
    world.place.bus().settled().await;
    for node in nodes {
        node.stop().await;
    }
    world.check(&command, &replies).await
}

impl World {
    /// Outcome, claim and publications agree.
    async fn check(&self, command: &Place, replies: &[String; 2]) -> Ended {
        assert_eq!(replies[0], replies[1], "two callers, two outcomes");
        let (orders, runs) = self.orders.0.lock().unwrap().clone();
        let ids: Vec<_> = orders.keys().copied().collect();
        assert_eq!(ids.len(), 1, "{orders:?}");
        assert!(replies[0].starts_with(&ids[0].to_string()), "{replies:?} names no order of {orders:?}");
        assert_eq!(self.place.bus().published::<Placed>(), [Placed { order: ids[0] }]);
        assert!(self.place.bus().dead_letters().is_empty());
        let key = ClaimKey { scope: "convoke:turns.place.v1".to_owned(), key: "k".to_owned() };
        let record = self.ledger.record();
        let completed: Vec<_> = record
            .done
            .iter()
            .filter_map(|effect| match effect {
                Effect::Completed { key: of, outcome } if *of == key => Some(outcome.clone()),
                _ => None,
            })
            .collect();
        let payload = Codec::MessagePack.encode(command).unwrap();
        let fingerprint = fingerprint("turns.place.v1", &payload);
        let claim =
            Claim { owner: Uuid::now_v7(), message_id: Uuid::now_v7(), fingerprint, lease: Duration::ZERO };
        let Ok(Claimed::Done(outcome)) = self.stores.claims.claim(&key, claim).await else {
            panic!("the claim is not done")
        };
        assert_eq!(completed, [outcome], "one completion counts, and it is the one that is stored");
        let tried = self.turns.taken().iter().filter(|(_, step)| step == "complete").count();
        Ended { runs, completions: (tried, completed.len()) }
    }
}

fn run_paused(script: &Script<'_>) -> Ended {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(run(script))
}

#[test]
fn a_command_under_one_key_on_two_nodes_runs_once_in_every_order_of_their_steps() {
    for word in words(6, 6) {
        let ended = run_paused(&Script { word: &word, looks: 6 - STEPS, lease_over_before: None });
        assert_eq!((ended.runs, ended.completions), (1, (1, 1)), "turns {word:?}");
    }
}

/// In the short form with four steps each, in the long one with up to six.
#[test]
fn a_lease_that_runs_out_at_any_point_leaves_one_outcome() {
    let steps = if convoke_testing::is_soak() { STEPS..=6 } else { STEPS..=STEPS };
    let (mut total, mut twice, mut fenced) = (0, 0, 0);
    for (word, looks) in
        steps.flat_map(|steps| words(steps, steps).into_iter().map(move |word| (word, steps - STEPS)))
    {
        for at in 0..=word.len() {
            let ended = run_paused(&Script { word: &word, looks, lease_over_before: Some(at) });
            assert!(ended.runs <= 2, "turns {word:?}, lease over before {at}: {ended:?}");
            total += 1;
            twice += usize::from(ended.runs == 2);
            fenced += usize::from(ended.completions.0 > ended.completions.1);
        }
    }
    println!("{total} orders: the handler ran twice in {twice}, a completion was refused in {fenced}");
    assert!(twice > 0 && fenced > 0, "no lease was lost: {twice} ran twice, {fenced} were fenced");
}
