//! The end of a claim, with what was staged.
use std::time::Duration;

use tokio::time::Instant;

use crate::{
    ClaimKey, Commit, Committed, Holder, Record, Row, StoreError, Stored, StoredOutcome, context::Staging,
    node::NodeInner,
};

/// How completing a claim ended.
pub(crate) enum Completed {
    /// Everything is recorded. What is to be pushed, when rows are.
    Stored(Option<Pushed>),
    /// Nothing is: a newer claim exists.
    Fenced,
    /// Nothing is: another writer was faster.
    Overtaken,
    /// Nothing is: there is no room for the rows.
    Full,
}

/// Rows that were recorded and not handed to the relay yet.
pub(crate) struct Pushed {
    pub(crate) stored: Stored,
    pub(crate) since: Instant,
    pub(crate) rows: Vec<Row>,
}

impl NodeInner {
    /// Stores an outcome; with what was staged, in one step.
    pub(crate) async fn complete_claim(
        &self,
        (key, holder): (&ClaimKey, Holder),
        outcome: &StoredOutcome,
        retention: Duration,
        staging: &Staging,
    ) -> Result<Completed, StoreError> {
        let Some(relay) = self.relay.as_ref().filter(|_| !staging.is_empty()) else {
            let stored = self.stores.claims.complete(key, holder, outcome.clone(), retention).await?;
            return Ok(if stored { Completed::Stored(None) } else { Completed::Fenced });
        };
        let rows = super::rows_of(staging).map_err(|failed| StoreError::refused(failed.to_string()))?;
        let record = Record::Claim { key, holder, outcome, retention };
        let since = Instant::now();
        let commit = Commit { record, rows: &rows, writes: &staging.writes };
        Ok(match relay.commit(commit).await? {
            Committed::Stored(stored) => Completed::Stored(Some(Pushed { stored, since, rows })),
            Committed::Fenced => Completed::Fenced,
            Committed::Overtaken => Completed::Overtaken,
            Committed::Full => Completed::Full,
        })
    }

    /// Gets rows that were just recorded published.
    pub(crate) async fn push(&self, pushed: Pushed) {
        if let Some(relay) = &self.relay {
            relay.pushed(self, pushed).await;
        }
    }
}
