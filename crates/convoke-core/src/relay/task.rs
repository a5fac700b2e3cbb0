use std::sync::Arc;

use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};
use uuid::Uuid;

use super::{Notice, Relay};
use crate::node::NodeInner;

/// Slots that are drained at once.
const DRAINS_MAX: usize = 256;

/// The task of a node's relay. Its drop ends it: what was recorded stays, and others publish it.
pub(crate) struct Task(watch::Sender<bool>);

impl Task {
    /// Starts it. `None`: the node has no outbox.
    pub(crate) fn start(node: &Arc<NodeInner>) -> Option<Self> {
        let relay = node.relay.as_ref()?;
        let inbox = relay.take_inbox()?;
        let (end, ended) = watch::channel(false);
        tokio::spawn(run(node.clone(), inbox, ended));
        Some(Self(end))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

async fn run(node: Arc<NodeInner>, mut inbox: mpsc::Receiver<Notice>, mut ended: watch::Receiver<bool>) {
    let Some(relay) = &node.relay else { return };
    let mut drains: FuturesUnordered<BoxFuture<'_, ()>> = FuturesUnordered::new();
    let mut sweep: BoxFuture<'_, ()> = Box::pin(sweep_at(&node, relay, Instant::now()));
    loop {
        tokio::select! {
            biased;
            _ = ended.wait_for(|ended| *ended) => return,
            notice = inbox.recv(), if drains.len() < DRAINS_MAX => {
                let Some(Notice { slot, batch, relayed }) = notice else { return };
                drains.push(Box::pin(node.drain(relay, slot, batch, Some(relayed))));
            }
            Some(()) = drains.next(), if !drains.is_empty() => {}
            () = &mut sweep => {
                // Not all nodes at once.
                let jitter = f64::from(Uuid::now_v7().as_bytes()[15]) / 255.0;
                let next = Instant::now() + relay.sweep_every.mul_f64(0.8 + 0.4 * jitter);
                sweep = Box::pin(sweep_at(&node, relay, next));
            }
        }
    }
}

async fn sweep_at(node: &Arc<NodeInner>, relay: &Relay, at: Instant) {
    sleep_until(at).await;
    node.sweep(relay).await;
}
