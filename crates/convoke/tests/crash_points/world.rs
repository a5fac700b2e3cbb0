//! One run: a node lives, dies, lives again over the same stores and bus, and comes to rest. Then the check.
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use convoke::{App, Bus, Claim, ClaimStore, Claimed, InProcess, Mediator};
use convoke_testing::outside::{CrashPoint, Effect, Ledger, Life, OutsideTransport, Record};
use tokio::{runtime::Builder, time::timeout};
use uuid::Uuid;

use super::{
    planted::{Planted, PlantedBus, PlantedStores, Shelf},
    service::{Desk, Orders, Place, Placed, Shipped},
};

/// How long a call, and coming to rest, may take. Leases and redeliveries are well within.
const REST: Duration = Duration::from_secs(60);
/// Between two looks at the outbox.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
const KEY: &str = "the-order";

/// How the caller asks for the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    Send,
    Enqueue,
}

/// What says that a handler is done, and will not run again.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Mark {
    /// The end of its claim, by a part of the claim's scope.
    Claim(&'static str),
    /// A write of the node's marks behind its effect.
    Saved,
}

/// What the node handles, and what the caller does.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) handlers: fn(App) -> App,
    /// How long the order takes.
    pub(crate) seconds: u64,
    pub(crate) ask: Ask,
    /// How the caller asks again after a death.
    pub(crate) ask_again: Ask,
    /// The handlers that have an effect.
    pub(crate) effects: &'static [(&'static str, Mark)],
    pub(crate) ships: bool,
    /// Whether the stores have an outbox.
    pub(crate) outbox: bool,
}

/// How a run ended.
pub(crate) struct Ran {
    /// The calls of each life, and whether it died.
    pub(crate) lives: Vec<(Vec<String>, bool)>,
    pub(crate) violations: Vec<String>,
}

/// What outlives the node.
struct World<'a> {
    scenario: &'a Scenario,
    planted: Planted,
    shelf: Arc<Shelf>,
    place: InProcess,
    ledger: Arc<Ledger>,
    orders: Orders,
    replies: Mutex<Vec<String>>,
    violations: Mutex<Vec<String>>,
}

/// Runs a scenario whose node dies so often and so; its last life ends in order. In a runtime of its own, with
/// paused time: nothing of one run reaches into the next.
pub(crate) fn run(scenario: &Scenario, deaths: &[CrashPoint], planted: Planted) -> Ran {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(run_to_rest(scenario, deaths, planted))
}

async fn run_to_rest(scenario: &Scenario, deaths: &[CrashPoint], planted: Planted) -> Ran {
    let place = InProcess::new();
    place.bus().encode_always();
    let world = World {
        scenario,
        planted,
        shelf: Arc::default(),
        place,
        ledger: Arc::default(),
        orders: Orders::default(),
        replies: Mutex::default(),
        violations: Mutex::default(),
    };
    let mut lives = Vec::new();
    for death in deaths.iter().copied().map(Some).chain([None]) {
        let life = Arc::new(Life::new(world.ledger.clone()).until(death));
        let ask = if lives.is_empty() { scenario.ask } else { scenario.ask_again };
        world.live(&life, ask).await;
        lives.push((life.calls(), life.has_ended()));
    }
    world.check().await;
    Ran { lives, violations: world.violations.into_inner().unwrap() }
}

impl World<'_> {
    /// A life, to its death or its end.
    async fn live(&self, life: &Arc<Life>, ask: Ask) {
        let bus = life.transport(self.place.another_node());
        tokio::select! {
            biased;
            () = life.ended() => {} // the other branch is dropped, and the node with it
            () = self.live_on(life, bus, ask) => {}
        }
    }

    async fn live_on(&self, life: &Arc<Life>, bus: OutsideTransport, ask: Ask) {
        let planted = self.planted;
        let stores = PlantedStores { shelf: self.shelf.clone(), planted };
        let stores = life.stores(&stores.stores(self.scenario.outbox));
        let desk = Desk { life: life.clone(), orders: self.orders.clone() };
        let app = App::new("crash").node("n1").state(desk).stores(stores);
        let app = app.transport(PlantedBus { inner: bus, planted });
        let node = match (self.scenario.handlers)(app).start().await {
            Ok(node) => node,
            Err(error) => return self.violated(format!("the node does not start: {error}")),
        };
        self.ask(&node.mediator(), ask).await;
        self.rest().await;
        node.stop().await;
    }

    async fn ask(&self, mediator: &Mediator, ask: Ask) {
        let command = Place { seconds: self.scenario.seconds };
        match ask {
            Ask::Send => match mediator.send(command).idempotency_key(KEY).timeout(REST).await {
                Ok(reply) => self.replies.lock().unwrap().push(reply),
                Err(error) => self.violated(format!("the caller is told: {error}")),
            },
            Ask::Enqueue => {
                if let Err(error) = mediator.enqueue(command).idempotency_key(KEY).await {
                    self.violated(format!("the caller is told: {error}"));
                }
            }
        }
    }

    async fn rest(&self) {
        let rest = async {
            loop {
                self.place.bus().settled().await;
                if self.shelf.inner.outbox_waiting() == 0 {
                    return;
                }
                tokio::time::sleep(LOOK_AGAIN).await; // paused time: nothing else is left to do now
            }
        };
        if timeout(REST, rest).await.is_err() {
            let waiting = self.shelf.inner.outbox_waiting();
            self.violated(format!("it does not come to rest, {waiting} messages are in the outbox"));
        }
    }

    /// What holds at rest, wherever the node died.
    async fn check(&self) {
        let (bus, record) = (self.place.bus(), self.ledger.record());
        let orders: Vec<Uuid> = self.orders.lock().unwrap().keys().copied().collect();
        self.holds(orders.len() == 1, || format!("there are {} orders", orders.len()));
        self.check_replies(orders.first());
        self.check_events(&bus, &record, orders.first());
        for (handler, mark) in self.scenario.effects {
            self.check_effects(&record, handler, *mark);
        }
        self.holds(bus.dead_letters().is_empty(), || format!("dead letters: {:?}", bus.dead_letters()));
        let jobs = bus.enqueued::<Place>().len();
        self.holds(jobs == 0, || format!("{jobs} jobs are left"));
        self.check_claims().await;
    }

    fn check_replies(&self, order: Option<&Uuid>) {
        let replies = self.replies.lock().unwrap();
        let distinct: BTreeSet<_> = replies.iter().collect();
        self.holds(distinct.len() <= 1, || format!("replies differ: {distinct:?}"));
        let ours = |reply: &String| order.is_some_and(|id| reply.contains(&id.to_string()));
        self.holds(replies.iter().all(ours), || format!("a reply names another order: {distinct:?}"));
    }

    /// Each event is there once, and was never published under another id.
    fn check_events(&self, bus: &Bus, record: &Record, order: Option<&Uuid>) {
        let placed: Vec<_> = order.iter().map(|order| Placed { order: **order }).collect();
        self.holds(bus.published::<Placed>() == placed, || {
            format!("placed: {:?}", bus.published::<Placed>())
        });
        let ships = order.filter(|_| self.scenario.ships);
        let shipped: Vec<_> = ships.iter().map(|order| Shipped { order: **order }).collect();
        let found = bus.published::<Shipped>();
        self.holds(found == shipped, || format!("shipped: {found:?}"));
        let published = record.done.iter().filter(|effect| matches!(effect, Effect::Published(_)));
        let lines: BTreeSet<_> = published.map(Effect::to_string).collect();
        self.holds(lines.len() == placed.len() + shipped.len(), || format!("publications: {lines:?}"));
        if self.scenario.outbox {
            self.check_order(record);
        }
    }

    /// Nothing leaves before what it rests on is recorded.
    fn check_order(&self, record: &Record) {
        let stages = |handler: &str| ["place", "notify", "bill"].contains(&handler);
        for (handler, mark) in self.scenario.effects.iter().filter(|(handler, _)| stages(handler)) {
            let name = if *handler == "place" { "crash.placed.v1" } else { "crash.shipped.v1" };
            let is_it =
                |effect: &Effect| matches!(effect, Effect::Published(_)) && effect.to_string().contains(name);
            let Some(published) = record.done.iter().position(is_it) else { continue };
            let before = &record.done[..published];
            let prefix = format!("effect {handler} ");
            let at = before.iter().rposition(|effect| effect.to_string().starts_with(&prefix));
            self.holds(at.is_some_and(|at| mark.is_in(&before[at..])), || {
                format!("{name} left before `{handler}` was recorded: {before:?}")
            });
        }
    }

    /// An effect is there once, and once more for each death between it and its mark: no other repeats, for the
    /// same message.
    fn check_effects(&self, record: &Record, handler: &str, mark: Mark) {
        let effect = format!("effect {handler} ");
        let effects: Vec<_> = record.notes().filter(|line| line.starts_with(&effect)).collect();
        let distinct: BTreeSet<_> = effects.iter().collect();
        self.holds(distinct.len() == 1, || format!("effects of `{handler}`: {distinct:?}"));
        let is_effect = |done: &Effect| matches!(done, Effect::Noted(line) if line.starts_with(&effect));
        let mut since = 0;
        let mut expected = 1;
        for death in &record.died_at {
            let life = &record.done[since..*death];
            let effect_at = life.iter().position(is_effect);
            expected += usize::from(effect_at.is_some_and(|at| !mark.is_in(&life[at..])));
            since = *death;
        }
        let count = effects.len();
        self.holds(count == expected, || format!("`{handler}` had {count} effects, and {expected} are due"));
    }

    /// Whoever asks for what was claimed is told that it is done.
    async fn check_claims(&self) {
        let claimed = self.shelf.claimed.lock().unwrap().clone();
        for (key, fingerprint) in claimed {
            let (owner, message_id) = (Uuid::now_v7(), Uuid::now_v7());
            let claim = Claim { owner, message_id, fingerprint, lease: Duration::ZERO };
            let found = self.shelf.inner.claim(&key, claim).await;
            self.holds(matches!(found, Ok(Claimed::Done(_))), || format!("the claim {key:?} is {found:?}"));
        }
    }

    fn holds(&self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.violated(otherwise());
        }
    }

    fn violated(&self, text: String) {
        self.violations.lock().unwrap().push(text);
    }
}

impl Mark {
    fn is_in(self, done: &[Effect]) -> bool {
        done.iter().any(|effect| match (self, effect) {
            (Self::Claim(scope), Effect::Completed { key, .. }) => key.scope.contains(scope),
            (Self::Saved, Effect::Marked) => true,
            _ => false,
        })
    }
}
