use std::{sync::Arc, time::Duration};

use convoke::{App, Executed, Mediator, Node, SendError, nats};
use orders::{GetOrder, Item, PlaceOrder, ShipOrder};
use serde_json::json;

use super::tally::{Ended, Tally, Way};

const READY_WITHIN: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(20);

/// A member of the bus that handles nothing.
pub(crate) async fn caller(nats: &str) -> Node {
    let transport = nats::Transport::connect(nats).await.expect("an address");
    let node = App::new("callers").node("caller").transport(transport).start().await.expect("it starts");
    node.ready(READY_WITHIN).await.expect("the server is there");
    node
}

/// Places an order, looks at it, ships it, again and again.
pub(crate) async fn work(mediator: Mediator, n: usize, tally: Arc<Tally>) {
    let item = json!({ "productId": "P-1", "productName": "Laptop", "quantity": 1, "unitPrice": 999.99 });
    let items: Vec<Item> = vec![serde_json::from_value(item).expect("an item")];
    while !tally.stopped() {
        let place = PlaceOrder { customer_id: format!("bus-{n}"), items: items.clone() };
        let placed = || async { ended(mediator.send(place.clone()).await) };
        let Some(placed) = tally.until_run(Way::Bus, "place", placed).await else { continue };
        let order_id = placed.order_id;
        tally.placed_one(order_id.to_string());
        tally
            .until_run(Way::Bus, "get", || async { ended(mediator.query(GetOrder { order_id }).await) })
            .await;
        tally
            .until_run(Way::Bus, "ship", || async { ended(mediator.send(ShipOrder { order_id }).await) })
            .await;
        tokio::time::sleep(PAUSE).await;
    }
}

fn ended<T, E>(sent: Result<T, SendError<E>>) -> Ended<T>
where
    SendError<E>: std::fmt::Display,
{
    match sent {
        Ok(reply) => Ended::Well(reply),
        Err(error) if error.executed() == Executed::No => Ended::NotRun(error.to_string()),
        Err(error) => Ended::Failed(error.to_string()),
    }
}
