//! A service that meets faults: orders by the ids of their commands, and what its handlers saw.
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use convoke::{App, Command, Context, Event, Handled, Outcome, State, handler};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Command)]
#[command(name = "faults.place.v1", reply = Uuid, idempotent)]
pub(crate) struct Place {
    pub(crate) customer: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
#[event(name = "faults.placed.v1")]
pub(crate) struct Placed {
    pub(crate) order: Uuid,
}

/// Something that happens to a customer, in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
#[event(name = "faults.moved.v1", key = customer)]
pub(crate) struct Moved {
    pub(crate) customer: String,
    pub(crate) step: u32,
}

/// Something that happens to nobody.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
#[event(name = "faults.noted.v1")]
pub(crate) struct Noted {
    pub(crate) step: u32,
}

/// What outlives the node.
#[derive(Debug, Clone, Default)]
pub(crate) struct World(Arc<Mutex<Seen>>);

#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) orders: BTreeMap<Uuid, u32>,
    /// How often the mailer ran for an order.
    pub(crate) mails: BTreeMap<Uuid, usize>,
    pub(crate) moves: Vec<(String, u32)>,
    pub(crate) notes: Vec<u32>,
    pub(crate) viewed: Vec<u32>,
    pub(crate) runs: usize,
}

impl World {
    pub(crate) fn seen(&self) -> Seen {
        self.0.lock().unwrap().clone()
    }

    fn see(&self, see: impl FnOnce(&mut Seen)) {
        see(&mut self.0.lock().unwrap());
    }
}

#[handler]
async fn place(cmd: Place, cx: &Context, State(world): State<World>) -> Outcome<Place> {
    let id = cx.id();
    world.see(|seen| {
        seen.runs += 1;
        seen.orders.insert(id, cmd.customer);
    });
    cx.publish(Placed { order: id });
    Ok(id)
}

#[handler]
async fn mail(event: Placed, State(world): State<World>) -> Handled {
    world.see(|seen| *seen.mails.entry(event.order).or_default() += 1);
    Ok(())
}

#[handler]
async fn moved(event: Moved, State(world): State<World>) -> Handled {
    world.see(|seen| seen.moves.push((event.customer, event.step)));
    Ok(())
}

#[handler]
async fn noted(event: Noted, State(world): State<World>) -> Handled {
    world.see(|seen| seen.notes.push(event.step));
    Ok(())
}

#[handler(view)]
async fn viewed(event: Noted, State(world): State<World>) -> Handled {
    world.see(|seen| seen.viewed.push(event.step));
    Ok(())
}

/// The app, over what outlives it.
pub(crate) fn app(world: &World) -> impl Fn() -> App + Send + Sync + 'static {
    let world = world.clone();
    move || {
        let app = App::new("faults").node("n1").state(world.clone());
        app.function(place).function(mail).function(moved).function(noted).function(viewed)
    }
}
