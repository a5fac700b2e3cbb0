use std::{sync::Arc, time::Duration};

use convoke_core::{
    Bus, Envelope, InProcess, Kind, LANE_UNKEYED, Message, MessageKind, Outgoing, Payload, Stores, Transport,
    lane_of, stores_in_process,
};
use tokio::{
    runtime::Builder,
    time::{Instant, timeout},
};
use uuid::Uuid;

use super::{Effects, Subject};
use crate::outside::{CrashPoint, Ledger, Life};

/// The id of the message, the same in each run: what is made of it is the same as well.
const ID: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001);
/// How long coming to rest may take, in paused time.
const REST_TIMEOUT: Duration = Duration::from_secs(600);
/// How long the bus may take to store the message.
const STORE_TIMEOUT: Duration = Duration::from_secs(10);

/// What happens in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trial {
    /// Nothing.
    Plain,
    /// All is delivered twice at once, and once more when it is settled.
    Twice,
    /// The node dies there in its first life.
    Death(CrashPoint),
}

/// How a run ended.
pub(super) struct Ran {
    pub(super) effects: Effects,
    /// The calls of the first life, and whether it ended with a death.
    pub(super) calls: Vec<String>,
    pub(super) died: bool,
    /// Whether any handler ran in it.
    pub(super) handled: bool,
}

/// What outlives a node.
struct World<'a, W> {
    subject: &'a Subject<W>,
    own: W,
    place: InProcess,
    stores: Stores,
    ledger: Arc<Ledger>,
}

/// In a runtime of its own, with paused time: nothing of one run reaches into the next.
pub(super) fn run<W: 'static, M: Message>(subject: &Subject<W>, message: &M, trial: Trial) -> Ran {
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime can be made").block_on(run_to_rest(subject, message, trial))
}

async fn run_to_rest<W: 'static, M: Message>(subject: &Subject<W>, message: &M, trial: Trial) -> Ran {
    let (place, ledger) = (InProcess::new(), Arc::default());
    let bus = place.bus();
    bus.encode_always();
    bus.faults().deliver_twice(trial == Trial::Twice);
    bus.faults().redeliver(trial == Trial::Twice);
    let world = World { subject, own: (subject.world)(), place, stores: stores_in_process(), ledger };
    let last = if let Trial::Death(point) = trial { Some(point) } else { None };
    let first = Arc::new(Life::new(world.ledger.clone()).until(last));
    world.live(&first, message).await;
    if first.has_ended() {
        world.live(&Arc::new(Life::new(world.ledger.clone())), message).await;
    }
    let shown = (subject.probe)(&world.own).await;
    let effects = Effects::of(&world.ledger.record(), &bus, shown);
    Ran { effects, calls: first.calls(), died: first.has_ended(), handled: first.has_handled() }
}

impl<W: 'static> World<'_, W> {
    /// A life, to its death or its end.
    async fn live<M: Message>(&self, life: &Arc<Life>, message: &M) {
        tokio::select! {
            biased;
            () = life.ended() => {} // the other branch is dropped, and the node with it
            () = self.live_on(life, message) => {}
        }
    }

    async fn live_on<M: Message>(&self, life: &Arc<Life>, message: &M) {
        let app = (self.subject.app)(&self.own).behavior(life.watch());
        let app = app.transport(life.transport(self.place.another_node()));
        let node = app.stores(life.stores(&self.stores)).start().await;
        let node = node.unwrap_or_else(|error| panic!("{error}"));
        self.ask(message).await;
        rest(&self.place.bus()).await;
        node.stop().await;
    }

    /// Stores the message; whoever does not know whether he did does it again, under its id.
    async fn ask<M: Message>(&self, message: &M) {
        let message = Outgoing {
            name: M::NAME,
            kind: M::Kind::KIND,
            lane: message.key().map_or(LANE_UNKEYED, |key| lane_of(&key)),
            payload: Payload::Message(Arc::new(message.clone())),
            envelope: Envelope::with_id(ID),
        };
        let by = Instant::now() + STORE_TIMEOUT;
        let stored = match message.kind {
            MessageKind::Event => self.place.publish(message, by).await,
            _ => self.place.enqueue(message, None, by).await,
        };
        stored.expect("the in-process bus takes one message");
    }
}

async fn rest(bus: &Bus) {
    let rests = timeout(REST_TIMEOUT, bus.settled()).await;
    assert!(rests.is_ok(), "the app does not come to rest within {REST_TIMEOUT:?}");
}
