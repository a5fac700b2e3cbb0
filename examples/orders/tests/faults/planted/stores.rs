use std::{sync::Arc, time::Duration};

use convoke::{BoxFuture, Claim, ClaimKey, ClaimStore, Claimed, Holder, StoreError, StoredOutcome, Stores};
use reqwest::Client;
use tokio::time::sleep;

use super::Planted;

/// How long a report may take.
const REPORT_WITHIN: Duration = Duration::from_secs(2);

/// How long a run takes from its end to its commit: most that are stopped are stopped here.
const COMMITS_AFTER: Duration = Duration::from_millis(400);

/// Claims with one thing wrong, which report each commit that was taken for good.
pub(super) struct PlantedStores {
    inner: Arc<dyn ClaimStore>,
    planted: Planted,
    client: Client,
    witness: String,
}

impl PlantedStores {
    pub(super) fn around(stores: Stores, planted: Planted, witness: String) -> Stores {
        let client = Client::builder().timeout(REPORT_WITHIN).build().expect("a client");
        let claims = Self { inner: stores.claims, planted, client, witness };
        // Without the outbox: with one, claims are ended there, and what is planted here is passed by.
        Stores { claims: Arc::new(claims), outbox: None, ..stores }
    }

    async fn complete_planted(
        &self,
        key: &ClaimKey,
        holder: Holder,
        outcome: StoredOutcome,
        retention: Duration,
    ) -> Result<bool, StoreError> {
        if self.planted == Planted::InboxOff {
            return Ok(true);
        }
        sleep(COMMITS_AFTER).await;
        let stored = self.inner.complete(key, holder, outcome, retention).await?;
        let taken = stored || self.planted == Planted::FenceOff;
        if taken {
            self.report(key, holder.fence).await;
        }
        Ok(taken)
    }

    async fn report(&self, key: &ClaimKey, fence: u64) {
        let url = format!("{}/effect?kind=commit&id={}&fence={fence}", self.witness, key.key);
        if let Err(error) = self.client.post(url).send().await {
            println!("a commit went unreported: {error}");
        }
    }
}

impl ClaimStore for PlantedStores {
    fn name(&self) -> &'static str {
        self.inner.name()
    }
    fn is_shared(&self) -> bool {
        self.inner.is_shared()
    }
    fn claim<'a>(&'a self, key: &'a ClaimKey, claim: Claim) -> BoxFuture<'a, Result<Claimed, StoreError>> {
        if self.planted == Planted::InboxOff {
            let Claim { message_id, .. } = claim;
            return Box::pin(async move { Ok(Claimed::Owned { fence: 1, message_id, attempt: 1 }) });
        }
        self.inner.claim(key, claim)
    }
    fn renew<'a>(
        &'a self,
        key: &'a ClaimKey,
        holder: Holder,
        lease: Duration,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        match self.planted {
            Planted::InboxOff | Planted::FenceOff => Box::pin(async { Ok(true) }),
            _ => self.inner.renew(key, holder, lease),
        }
    }
    fn complete<'a>(
        &'a self,
        key: &'a ClaimKey,
        holder: Holder,
        outcome: StoredOutcome,
        retention: Duration,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(self.complete_planted(key, holder, outcome, retention))
    }
    fn release<'a>(&'a self, key: &'a ClaimKey, holder: Holder) -> BoxFuture<'a, Result<(), StoreError>> {
        self.inner.release(key, holder)
    }
    fn changed<'a>(&'a self, key: &'a ClaimKey, wait: Duration) -> BoxFuture<'a, ()> {
        self.inner.changed(key, wait)
    }
    fn ping(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner.ping()
    }
}
