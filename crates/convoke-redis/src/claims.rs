//! Who runs what, and how it ended.

use std::future::pending;
use std::sync::LazyLock;
use std::time::Duration;

use convoke_core::{BoxFuture, Claim, ClaimKey, ClaimStore, Claimed, Holder, StoreError, StoredOutcome};
use tokio::time::{Instant, sleep_until, timeout_at};
use uuid::Uuid;

use crate::keys::ClaimKeys;
use crate::reply::unexpected;
use crate::script::Script;
use crate::stores::Stores;
use crate::waiters::Waiter;

static CLAIM: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/claim.lua")));
static RENEW: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/renew.lua")));
static COMPLETE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/complete.lua")));
static RELEASE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/release.lua")));
static WAIT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/wait.lua")));

impl ClaimStore for Stores {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn claim<'a>(&'a self, key: &'a ClaimKey, claim: Claim) -> BoxFuture<'a, Result<Claimed, StoreError>> {
        Box::pin(self.claim_record(key, claim))
    }

    fn renew<'a>(
        &'a self,
        key: &'a ClaimKey,
        holder: Holder,
        lease: Duration,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            let keys = self.inner.keys.claim(key);
            let (owner, fence) = texts(holder);
            let (lease, kept) = (ms(lease), ms(self.inner.abandoned_retention));
            let args = [&*owner, &fence, &lease, &kept].map(str::as_bytes);
            self.run(&RENEW, &[&keys.record], &args).await?.next::<bool>()
        })
    }

    fn complete<'a>(
        &'a self,
        key: &'a ClaimKey,
        holder: Holder,
        outcome: StoredOutcome,
        retention: Duration,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(self.complete_record(key, holder, outcome, retention))
    }

    fn release<'a>(&'a self, key: &'a ClaimKey, holder: Holder) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let keys = self.inner.keys.claim(key);
            let (owner, fence) = texts(holder);
            let (kept, wake_up) = (ms(self.inner.abandoned_retention), wake_up(&keys));
            let args = [&*owner, &fence, &kept, &self.inner.channel, &wake_up].map(str::as_bytes);
            self.run(&RELEASE, &[&keys.record], &args).await.map(drop)
        })
    }

    fn changed<'a>(&'a self, key: &'a ClaimKey, wait: Duration) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let deadline = Instant::now() + wait;
            // Whether it changed or the time is up is the same to the caller.
            let _ = timeout_at(deadline, self.until_changed(&self.inner.keys.claim(key))).await;
        })
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.vet().await?;
            self.command(&redis::cmd("PING")).await.map(drop)
        })
    }
}

impl Stores {
    async fn claim_record(&self, key: &ClaimKey, claim: Claim) -> Result<Claimed, StoreError> {
        let keys = self.inner.keys.claim(key);
        let owner = claim.owner.to_string();
        let message_id = claim.message_id.to_string();
        let fingerprint = format!("{:032x}", claim.fingerprint);
        let (lease, kept) = (ms(claim.lease), ms(self.inner.abandoned_retention));
        let args = [&*owner, &message_id, &fingerprint, &lease, &kept].map(str::as_bytes);
        let mut reply = self.run(&CLAIM, &[&keys.record, &keys.fence], &args).await?;
        let state: String = reply.next()?;
        match &*state {
            "owned" => {
                let fence = reply.next()?;
                let message_id: String = reply.next()?;
                let message_id =
                    Uuid::try_parse(&message_id).map_err(|error| unexpected(error.to_string()))?;
                Ok(Claimed::Owned { fence, message_id, attempt: reply.next()? })
            }
            "replied" | "rejected" => {
                let answer: Vec<u8> = reply.next()?;
                Ok(Claimed::Done(StoredOutcome { rejected: state == "rejected", answer: answer.into() }))
            }
            "busy" => Ok(Claimed::Busy { remaining: Duration::from_millis(reply.next()?) }),
            "mismatch" => Ok(Claimed::Mismatch),
            _ => Err(unexpected(state)),
        }
    }

    async fn complete_record(
        &self,
        key: &ClaimKey,
        holder: Holder,
        outcome: StoredOutcome,
        retention: Duration,
    ) -> Result<bool, StoreError> {
        if outcome.answer.len() > StoredOutcome::BYTES_MAX {
            let (len, max) = (outcome.answer.len(), StoredOutcome::BYTES_MAX);
            return Err(StoreError::refused(format!("an answer of {len} bytes is larger than {max}")));
        }
        let keys = self.inner.keys.claim(key);
        let (owner, fence) = texts(holder);
        let state: &[u8] = if outcome.rejected { b"rejected" } else { b"replied" };
        let (retention, wake_up) = (ms(retention), wake_up(&keys));
        let (owner, fence, retention) = (owner.as_bytes(), fence.as_bytes(), retention.as_bytes());
        let (channel, wake_up) = (self.inner.channel.as_bytes(), wake_up.as_bytes());
        let args = [owner, fence, state, &outcome.answer, retention, channel, wake_up];
        self.run(&COMPLETE, &[&keys.record], &args).await?.next::<bool>()
    }

    /// Looks, and looks again when woken up, when the lease is over, or when the time has come: wake-ups get lost.
    async fn until_changed(&self, keys: &ClaimKeys) {
        let waiter = self.inner.waiters.join(keys.wake_up);
        if waiter.is_some() {
            self.inner.link.listen().await;
        }
        let mut pause = self.inner.poll_interval / 5;
        loop {
            let mut woken = std::pin::pin!(woken(waiter.as_ref()));
            // Polled once before looking: what changes after the look is heard.
            let heard_already = futures_util::poll!(woken.as_mut()).is_ready();
            let look = Instant::now() + pause;
            let next = match self.remaining(keys).await {
                Ok(Duration::ZERO) => return,
                Ok(remaining) => look.min(Instant::now() + remaining),
                Err(_) => look,
            };
            if heard_already {
                return;
            }
            tokio::select! {
                () = woken => return,
                () = sleep_until(next) => {}
            }
            pause = (pause * 2).min(self.inner.poll_interval);
        }
    }

    /// For how long the record is still held; zero when there is nothing to wait for.
    async fn remaining(&self, keys: &ClaimKeys) -> Result<Duration, StoreError> {
        self.run(&WAIT, &[&keys.record], &[]).await?.next().map(Duration::from_millis)
    }
}

async fn woken(waiter: Option<&Waiter>) {
    match waiter {
        Some(waiter) => waiter.changed.notified().await,
        None => pending().await,
    }
}

pub(crate) fn texts(holder: Holder) -> (String, String) {
    (holder.owner.to_string(), holder.fence.to_string())
}

pub(crate) fn wake_up(keys: &ClaimKeys) -> String {
    format!("{:016x}", keys.wake_up)
}

/// Redis has no expiry of zero.
pub(crate) fn ms(duration: Duration) -> String {
    duration.as_millis().max(1).to_string()
}
