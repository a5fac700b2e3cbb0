//! Commands and queries. Each runs on one node.
use convoke::{Context, Outcome, Service, StoreError, handlers};
use tracing::{info, warn};

use crate::{
    Effect, Effects, GetOrder, ListOrders, Order, OrderError, OrderId, OrderPage, OrderPlaced,
    OrderPlacedReply, OrderShipped, OrderShippedReply, PlaceOrder, Repository, ShipOrder, Status,
};

/// How often a change is tried again when another one was faster.
const CHANGES_MAX: u32 = 8;

/// The order service.
#[derive(Debug, Service)]
pub struct Orders {
    repository: Repository,
    effects: Effects,
}

#[handlers]
impl Orders {
    /// The command's id is the order's: a run that is repeated after a crash finds the order of the first.
    #[handler]
    async fn place(&self, command: PlaceOrder, cx: &Context) -> Outcome<PlaceOrder> {
        let node = cx.node();
        let order = Order::place(self.repository.id(cx), command.customer_id, command.items, node);
        info!(node, order = %order.order_id, "{node} handles PlaceOrder");
        let stored = self.repository.place(&order, cx).await?;
        // The run before may have ended between storing and saying so; one of our own that is late says nothing.
        if stored == order || cx.attempt() > 1 {
            self.effects.mention(Effect::Order(order.order_id), node, cx.idempotency_key()).await;
        }
        cx.publish(OrderPlaced {
            order_id: stored.order_id,
            customer_id: stored.customer_id,
            total_amount: stored.total_amount,
        });
        Ok(OrderPlacedReply {
            order_id: stored.order_id,
            total_amount: stored.total_amount,
            // As it was placed: a repeated run may find it shipped.
            status: Status::Created,
            created_at: stored.created_at,
            handled_by: stored.handled_by,
        })
    }

    #[handler]
    async fn get(&self, query: GetOrder) -> Outcome<GetOrder> {
        Ok(self.read(query.order_id).await?.0)
    }

    #[handler]
    async fn list(&self, query: ListOrders) -> Outcome<ListOrders> {
        let orders = self.repository.list(query.after, query.limit).await.map_err(unavailable)?;
        let full = orders.len() == query.limit;
        let next = orders.last().filter(|_| full).map(|order| order.order_id);
        Ok(OrderPage { orders, next })
    }

    /// Of two at once, one replaces the order; the other reads again and finds it shipped. What the
    /// witness hears comes with the event: which of the two was faster is certain only when that is stored.
    #[handler]
    async fn ship(&self, command: ShipOrder, cx: &Context) -> Outcome<ShipOrder> {
        let (order_id, node) = (command.order_id, cx.node());
        info!(node, order = %order_id, "{node} handles ShipOrder");
        let tracking_number = format!("TRACK-{}", cx.id().simple());
        for _ in 0..CHANGES_MAX {
            let (order, version) = self.read(order_id).await?;
            if let Some(shipped) = order.shipped(&tracking_number) {
                if !self.repository.change(&shipped, version, cx).await? {
                    continue;
                }
            } else if order.tracking_number.as_ref() != Some(&tracking_number) {
                Err(OrderError::AlreadyShipped(order_id))?;
            } // else our own change was stored, and only its answer got lost
            cx.publish(OrderShipped { order_id, tracking_number: tracking_number.clone() });
            return Ok(OrderShippedReply { order_id, status: Status::Shipped, tracking_number });
        }
        Err(OrderError::Unavailable)?
    }

    async fn read(&self, id: OrderId) -> Result<(Order, u64), OrderError> {
        self.repository.get(id).await.map_err(unavailable)?.ok_or(OrderError::NotFound(id))
    }
}

/// Nothing was changed, so the caller may simply try again.
fn unavailable(error: StoreError) -> OrderError {
    warn!(%error, "the orders cannot be reached");
    OrderError::Unavailable
}
