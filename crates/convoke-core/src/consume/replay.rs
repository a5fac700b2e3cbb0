//! Dead letters that come back: for the handler that gave up, once each.
use std::time::Duration;

use crate::{ClaimKey, Config, Failed, Settled};

use super::{Arrived, Consumer, Done, Work, order::Ticket};

impl Arrived {
    /// Whether this handler is to have it.
    pub(super) fn is_for(&self, handler: &str) -> bool {
        self.replay.as_ref().is_none_or(|replay| replay.handler.is_empty() || replay.handler == handler)
    }

    /// How often it came back.
    pub(super) fn replays(&self) -> u32 {
        self.replay.as_ref().map_or(0, |replay| replay.number)
    }

    /// How long it is remembered that it was handled: as long as its letter may be replayed again.
    pub(super) fn retention(&self, config: &Config) -> Duration {
        config.retention.max(self.replay.as_ref().map_or(Duration::ZERO, |replay| replay.keep))
    }
}

impl Consumer {
    pub(super) async fn settle_replay(
        &self,
        arrived: &Arrived,
        works: Result<Vec<(Work, Ticket)>, Failed>,
    ) -> Settled {
        let mut works = match works {
            Ok(works) => works,
            Err(failed) => return self.settle_unreadable(arrived, failed).await,
        };
        if works.is_empty() {
            return self.settle_unwanted(arrived).await;
        }
        if self.handle_all(&mut works).await { Settled::HandBack } else { Settled::Done }
    }

    /// The handler is gone: the letter is kept for whoever brings it back.
    async fn settle_unwanted(&self, arrived: &Arrived) -> Settled {
        let handler = arrived.replay.as_ref().map_or_else(String::new, |replay| replay.handler.clone());
        let error = format!(
            "node `{}` has no handler `{handler}` for {} any more",
            self.node.identity.node, arrived.incoming.name
        );
        match self.bury(arrived, &handler, vec![error], 0).await {
            Done::Handled | Done::Buried => Settled::Done,
            Done::Stopping => Settled::HandBack,
        }
    }

    /// A handler of this node. Its marks say that it is done with the event, because it was buried; a claim tells
    /// one replay from the next.
    pub(super) async fn handle_replay(&self, work: &Work) -> Done {
        let (identity, handler, arrived) = (&self.node.identity, work.title(), &work.arrived);
        let for_all = arrived.replay.as_ref().is_some_and(|replay| replay.handler.is_empty());
        if let (true, Some(marks), Some(position)) = (for_all, &self.marks, arrived.incoming.position) {
            if !marks.ready(&self.node).await {
                return Done::Stopping;
            }
            if marks.contains_of_epoch(position, handler) {
                return Done::Handled;
            }
        }
        let key = ClaimKey {
            scope: format!("{}:{}:{}:replay:{handler}", identity.namespace, identity.service, identity.node),
            key: arrived.incoming.envelope.id().to_string(),
        };
        self.handle_claimed(key, (0, self.node.config.lease), work).await
    }
}
