//! A node that meets faults, and lives again when it dies of one.
use std::{sync::Arc, thread, time::Duration};

use convoke_core::{App, InProcess, Stores, stores_in_process};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{TestApp, setup::Make};
use crate::{
    Faults,
    faults::{Plan, SEED_VARIABLE},
    outside::{Ledger, Life},
};

/// The node a test's own calls go out from.
const CALLER: &str = "caller";
/// How long a dead node takes to come back.
const RESTART_PAUSE: Duration = Duration::from_millis(20);
/// How long it may take until the node runs, its deaths included.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// The pause between looks at what is in transit.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// The node under faults, kept alive by a task.
pub(super) struct Faulty {
    plan: Arc<Plan>,
    ledger: Arc<Ledger>,
    state: watch::Receiver<State>,
    stop: watch::Sender<bool>,
    living: JoinHandle<()>,
}

/// How the node stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// Dead, or not yet there.
    Away,
    /// In this life, counted from 1.
    Running(usize),
    Stopped,
    /// It cannot be started; why.
    Failed(String),
}

/// What all lives of the node share.
struct World {
    make: Make,
    place: InProcess,
    stores: Stores,
    plan: Arc<Plan>,
    ledger: Arc<Ledger>,
    state: watch::Sender<State>,
    stop: watch::Receiver<bool>,
}

impl Faulty {
    /// Starts the node and, beside it, the one of the test.
    pub(super) async fn start(make: Make, faults: Faults) -> TestApp {
        let (place, stores, plan) = (InProcess::new(), stores_in_process(), Plan::new(faults));
        place.bus().encode_always();
        println!("faults from {}", how_to_repeat(plan.seed()));
        let ledger = Arc::new(Ledger::default());
        let (state, watched) = watch::channel(State::Away);
        let (stop, stopping) = watch::channel(false);
        let world = World {
            make,
            place: place.another_node(),
            stores: stores.clone(),
            plan: plan.clone(),
            ledger: ledger.clone(),
            state,
            stop: stopping,
        };
        let living = tokio::spawn(world.live());
        let faulty = Self { plan: plan.clone(), ledger, state: watched, stop, living };
        let running = timeout(START_TIMEOUT, faulty.running()).await;
        running.expect("the node starts within 60 s, whatever it dies of");
        let life = Arc::new(Life::new(Arc::default()).faults(plan, false));
        let caller = App::new(CALLER).node(CALLER).transport(life.transport(place.another_node()));
        let node = caller.start().await.expect("nothing can be wrong with an app that handles nothing");
        TestApp { mediator: node.mediator(), node, place, stores, faulty: Some(faulty) }
    }

    /// What went wrong so far.
    pub(super) fn made(&self) -> Vec<String> {
        self.plan.made()
    }

    /// How often the node died.
    pub(super) fn deaths(&self) -> usize {
        self.ledger.record().died_at.len()
    }

    /// Waits until the node runs, and tells in which life.
    ///
    /// # Panics
    /// When it cannot be started.
    async fn running(&self) -> usize {
        let there = |state: &State| *state != State::Away;
        let state = self.state.clone().wait_for(there).await.map(|state| state.clone());
        match state {
            Ok(State::Running(life)) => life,
            Ok(State::Failed(error)) => panic!("{error}"),
            _ => panic!("the node has stopped"),
        }
    }

    /// Returns when the bus rests and nothing is in transit, within one life.
    pub(super) async fn settled(&self, rest: impl AsyncFn()) {
        loop {
            let life = self.running().await;
            let mut state = self.state.clone();
            tokio::select! {
                biased;
                _ = state.wait_for(|state| *state != State::Running(life)) => continue,
                () = rest() => {}
            }
            if self.plan.is_at_rest() && *self.state.borrow() == State::Running(life) {
                return;
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Stops the node in order.
    pub(super) async fn stop(&self) {
        self.stop.send_replace(true);
        let _ = self.state.clone().wait_for(|state| matches!(state, State::Stopped | State::Failed(_))).await;
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.living.abort();
        if thread::panicking() {
            let made = self.plan.made();
            println!("{} faults were made, from {}", made.len(), how_to_repeat(self.plan.seed()));
            made.iter().for_each(|line| println!("    {line}"));
        }
    }
}

/// The seed, and the command that takes it.
fn how_to_repeat(seed: u64) -> String {
    let thread = thread::current();
    let test = thread.name().filter(|name| *name != "main").unwrap_or_default();
    format!("seed {seed}; to repeat: {SEED_VARIABLE}={seed} cargo test {test}")
}

impl World {
    /// Life after life, until one ends in order.
    async fn live(self) {
        let points = self.plan.crash_points().to_vec().into_iter().map(Some).chain(std::iter::repeat(None));
        for (number, point) in (1..).zip(points) {
            let life = Life::new(self.ledger.clone()).until(point).faults(self.plan.clone(), true);
            let life = Arc::new(life);
            tokio::select! {
                biased;
                () = life.ended() => {} // the other branch is dropped, and the node with it
                () = self.live_on(&life, number) => return,
            }
            self.state.send_replace(State::Away);
            sleep(RESTART_PAUSE).await;
        }
    }

    async fn live_on(&self, life: &Arc<Life>, number: usize) {
        let app = (self.make)().behavior(life.watch());
        let app = app.transport(life.transport(self.place.another_node()));
        let node = match app.stores(life.stores(&self.stores)).start().await {
            Ok(node) => node,
            Err(error) => {
                self.state.send_replace(State::Failed(error.to_string()));
                return;
            }
        };
        self.state.send_replace(State::Running(number));
        let _ = self.stop.clone().wait_for(|stop| *stop).await; // gone is stopped
        node.stop().await;
        self.state.send_replace(State::Stopped);
    }
}
