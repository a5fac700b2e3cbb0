//! Events. Each runs on every node, once per node, also for what was published while the node was down.
use convoke::{Context, Handled, Service, handlers};
use tracing::info;

use crate::{Effect, Effects, OrderId, OrderPlaced, OrderShipped};

/// What a node does about events: it says so. Mails and read models would go here.
#[derive(Debug, Service)]
pub struct Receiver {
    effects: Effects,
}

#[handlers]
impl Receiver {
    #[handler]
    async fn placed(&self, event: OrderPlaced, cx: &Context) -> Handled {
        self.receive(event.order_id, cx).await
    }

    #[handler]
    async fn shipped(&self, event: OrderShipped, cx: &Context) -> Handled {
        // Said by the node that shipped it, and here: that it did is certain once its event is stored.
        if cx.source() == Some(cx.node()) {
            self.effects.report(Effect::Ship(event.order_id), cx.node(), None).await?;
        }
        self.receive(event.order_id, cx).await
    }

    async fn receive(&self, order_id: OrderId, cx: &Context) -> Handled {
        let (node, from) = (cx.node(), cx.source().unwrap_or("unknown"));
        info!(node, order = %order_id, from, "{node} received {}", cx.name());
        // A report that fails is a fault: the event is handled again, and dead-lettered in the end.
        self.effects.report(Effect::Event(cx.id()), node, None).await?;
        Ok(())
    }
}
