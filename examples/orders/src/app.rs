use convoke::{App, catalog};

use crate::{
    Effects, EventFeed, GetOrder, ListOrders, OrderPlaced, OrderShipped, PlaceOrder, Repository, ShipOrder,
};

/// The order system as one node runs it: its handlers, with what they need. Without a transport it runs in this
/// process alone.
pub fn app(repository: Repository, feed: EventFeed, effects: Effects) -> App {
    App::new("orders").state(repository).state(feed).state(effects).discover().expects(catalog!(
        PlaceOrder,
        GetOrder,
        ListOrders,
        ShipOrder,
        OrderPlaced,
        OrderShipped
    ))
}
