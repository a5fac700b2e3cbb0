//! The service that dies: its messages, its handlers, and a database of its own, which counts as
//! outside as well.
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use convoke::{Command, Context, Event, Handled, Outcome, State, handler};
use convoke_testing::outside::Life;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Places an order, once per key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Command)]
#[command(name = "crash.place.v1", reply = String, idempotent)]
pub(crate) struct Place {
    /// How long it takes.
    pub(crate) seconds: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
#[event(name = "crash.placed.v1")]
pub(crate) struct Placed {
    pub(crate) order: Uuid,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
#[event(name = "crash.shipped.v1")]
pub(crate) struct Shipped {
    pub(crate) order: Uuid,
}

/// Orders by their id. Putting one that is there changes nothing.
pub(crate) type Orders = Arc<Mutex<BTreeMap<Uuid, String>>>;

/// What a handler has in hand.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) life: Arc<Life>,
    pub(crate) orders: Orders,
}

impl Desk {
    async fn put_order(&self, id: Uuid, by: &str) {
        let put = async {
            self.life.note(format!("effect place {id}"));
            self.orders.lock().unwrap().entry(id).or_insert_with(|| by.to_owned());
        };
        self.life.call("put order", put).await;
    }

    async fn effect(&self, handler: &str, id: Uuid) {
        let effect = async { self.life.note(format!("effect {handler} {id}")) };
        self.life.call("effect", effect).await;
    }
}

/// The reply differs from run to run, so that a reply of another run is seen.
#[handler]
pub(crate) async fn place(cmd: Place, cx: &Context, State(desk): State<Desk>) -> Outcome<Place> {
    let run = format!("order {} by claim {}", cx.id(), cx.fence().expect("it holds a claim"));
    tokio::time::sleep(Duration::from_secs(cmd.seconds)).await;
    desk.put_order(cx.id(), &run).await;
    cx.publish(Placed { order: cx.id() });
    Ok(run)
}

#[handler]
pub(crate) async fn notify(event: Placed, cx: &Context, State(desk): State<Desk>) -> Handled {
    desk.effect("notify", cx.id()).await;
    cx.publish(Shipped { order: event.order });
    Ok(())
}

#[handler]
pub(crate) async fn audit(_: Placed, cx: &Context, State(desk): State<Desk>) -> Handled {
    desk.effect("audit", cx.id()).await;
    Ok(())
}

#[handler]
pub(crate) async fn track(_: Shipped, cx: &Context, State(desk): State<Desk>) -> Handled {
    desk.effect("track", cx.id()).await;
    Ok(())
}

#[handler(group = "billing")]
pub(crate) async fn bill(event: Placed, cx: &Context, State(desk): State<Desk>) -> Handled {
    desk.effect("bill", cx.id()).await;
    cx.publish(Shipped { order: event.order });
    Ok(())
}
