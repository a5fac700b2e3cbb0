use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use tokio::time::{Instant, sleep};

use super::{Keeps, Life};
use crate::{
    Error, ErrorKind, StateMachine,
    engine::{
        calls::{Ask, Change, Reply},
        node::Node,
    },
};

/// How often a duty that failed is tried again.
const AGAIN: Duration = Duration::from_millis(200);
/// How long a duty may take.
const WITHIN: Duration = Duration::from_secs(5);

impl<M: StateMachine, L: Keeps> Life<M, L> {
    /// What a node does beside answering. Ends when its engine does; an error when it must not take part.
    pub(super) async fn duties(&self, node: &Node<M>) -> Result<(), Error> {
        let settle = async {
            self.settle(node).await?;
            std::future::pending::<Result<(), Error>>().await
        };
        tokio::select! {
            biased;
            () = node.tell_leadership() => Ok(()),
            () = node.tick() => Ok(()),
            () = self.found_late(node) => Ok(()),
            () = finish_changes(node) => Ok(()),
            refused = settle => refused,
        }
    }

    /// A founder that was not the first writes down who founds the cluster when nobody did for a while: the first one may
    /// be gone.
    async fn found_late(&self, node: &Node<M>) {
        if self.config.founders.contains_key(&node.id()) {
            sleep(self.config.timing.lease() * 3).await;
            if node.raft().metrics().borrow_watched().last_log_index.is_none() {
                self.initialize(node.raft()).await;
            }
        }
        std::future::pending().await
    }

    /// Has the cluster remember on which disk this node's state is.
    async fn settle(&self, node: &Node<M>) -> Result<(), Error> {
        let (id, disk) = (node.id(), self.disk.plate.disk);
        loop {
            let mine = node.members().into_iter().find(|(member, ..)| *member == id);
            if mine.is_some_and(|(_, member, _)| member.disk == Some(disk)) {
                return Ok(());
            }
            let asked =
                node.at_leader(|| Ask::Change(Change::Settle { id, disk }), Instant::now() + WITHIN).await;
            match asked {
                Ok(Reply::Changed(_)) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Refused => return Err(error),
                _ => sleep(AGAIN).await,
            }
        }
    }
}

/// Ends what an earlier leader began and could not finish.
async fn finish_changes<M: StateMachine>(node: &Node<M>) {
    let mut changes = node.raft().server_metrics();
    loop {
        changes.borrow_and_update();
        if node.leading().term_here().is_some()
            && let Err(reply) = node.finish_change(Instant::now() + WITHIN).await
        {
            tracing::debug!(?reply, "a change of the members is not finished yet");
            sleep(AGAIN).await;
            continue;
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}
