//! Messages that several nodes compete for: one completed run each, by a claim.
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tracing::{error, warn};
use uuid::Uuid;

use super::{
    AWAY_PAUSE, Arrived, Consumer, Done, Work,
    attempts::{Ended, Owned},
};
use crate::{
    Audience, Claim, ClaimKey, Claimed, Codec, Holder, StoreErrorKind, StoredOutcome,
    context::Staging,
    endpoint::{Held, stored_outcome, under_lease},
    fingerprint,
    relay::{Completed, OVERTAKEN_MAX},
};

/// Longest lease of a run that others of its key wait for, on other nodes too.
const KEYED_LEASE_MAX: Duration = Duration::from_secs(4);

/// How often a group's event is begun before it counts as one that ends each node that takes it; so often again with
/// each replay.
const CLAIMS_MAX: u32 = 30;

impl Consumer {
    /// A group's handler: one completed run per event over all nodes of the group.
    pub(super) async fn handle_in_group(&self, group: &str, work: &Work) -> Done {
        let identity = &self.node.identity;
        // who takes the lanes of a node that died waits for what it had in hand
        let lease = match work.body.key() {
            Some(_) => self.node.config.lease.min(KEYED_LEASE_MAX),
            None => self.node.config.lease,
        };
        let key = ClaimKey {
            scope: format!("{}:{}:{group}:{}", identity.namespace, identity.service, work.title()),
            key: work.arrived.incoming.envelope.id().to_string(),
        };
        self.handle_claimed(key, (0, lease), work).await
    }

    pub(super) async fn handle_job(&self, work: &Work) -> Done {
        match work.endpoint().info.options.leader {
            None => self.handle_own_job(work).await,
            Some(_) => Box::pin(self.handle_led_job(work)).await,
        }
    }

    /// An enqueued command: under the same record as one that is sent, so that one key runs once either way.
    pub(super) async fn handle_own_job(&self, work: &Work) -> Done {
        let (name, arrived) = (work.endpoint().info.name, &work.arrived);
        if let Err(invalid) = work.body.validate() {
            return self.bury(arrived, work.title(), vec![invalid.to_string()], 0).await;
        }
        let print = match work.body.encode(Codec::MessagePack) {
            Ok(bytes) => fingerprint(name, &bytes),
            Err(error) => return self.bury(arrived, work.title(), vec![error.to_string()], 0).await,
        };
        let key = self.node.claim_key(name, &arrived.incoming.envelope);
        self.handle_claimed(key, (print, self.node.config.lease), work).await
    }

    pub(super) async fn handle_claimed(
        &self,
        key: ClaimKey,
        (fingerprint, lease): (u128, Duration),
        work: &Work,
    ) -> Done {
        let (node, claims) = (&self.node, &self.node.stores.claims);
        let (handler, arrived) = (work.title(), &work.arrived);
        let message_id = arrived.incoming.envelope.id();
        let mut overtaken = 0;
        while !node.is_stopping() {
            let claim = Claim { owner: Uuid::now_v7(), message_id, fingerprint, lease };
            let since = Instant::now();
            match claims.claim(&key, claim).await {
                Ok(Claimed::Done(_)) => return Done::Handled,
                Ok(Claimed::Busy { remaining }) => claims.changed(&key, remaining.min(AWAY_PAUSE)).await,
                Ok(Claimed::Mismatch) => {
                    error!(handler, "the key of an enqueued command was used with another payload");
                    let errors = vec!["the idempotency key was used with another payload".to_owned()];
                    return self.bury(arrived, handler, errors, 0).await;
                }
                Ok(Claimed::Owned { fence, attempt, .. }) if self.ends_its_nodes(attempt, arrived) => {
                    let error = format!(
                        "it was begun {attempt} times and never ended: each node that took it ended or hung"
                    );
                    let done = self.bury(arrived, handler, vec![error], 0).await;
                    let _ = claims.release(&key, Holder { owner: claim.owner, fence }).await; // else its lease ends
                    return done;
                }
                Ok(Claimed::Owned { fence, message_id, .. }) => {
                    let holder = Holder { owner: claim.owner, fence };
                    let run = self.run_claimed(Owned { key: &key, holder, message_id }, work);
                    match under_lease(claims, &key, Held { holder, since }, lease, run).await {
                        Some(Ran::Done(done)) => return done,
                        Some(Ran::Overtaken) => {
                            overtaken += 1;
                            if overtaken >= OVERTAKEN_MAX {
                                return self.conclude(Ended::overtaken(overtaken), work).await;
                            }
                        }
                        Some(Ran::Refused(error)) => {
                            return self.conclude(Ended::refused(error), work).await;
                        }
                        Some(Ran::Fenced) | None => warn!(handler, "a run was fenced"),
                    }
                }
                Err(error) => {
                    warn!(%error, "the claim store is away, the message waits");
                    node.pause(AWAY_PAUSE).await;
                }
            }
        }
        Done::Stopping
    }

    /// Whether an event of a group was begun too often. Its lanes change their reader with each node that ends, and
    /// the broker counts anew; other messages are counted there.
    fn ends_its_nodes(&self, attempt: u32, arrived: &Arrived) -> bool {
        let claims_max = CLAIMS_MAX.saturating_mul(arrived.replays().saturating_add(1));
        matches!(self.audience, Audience::Group(_)) && attempt > claims_max
    }

    /// Runs, buries what gave up or was refused with nobody to tell, and stores what was handled.
    async fn run_claimed(&self, owned: Owned<'_>, work: &Work) -> Ran {
        let arrived = &work.arrived;
        let mut ended = self.attempts(work, Some(&owned)).await;
        let nothing = StoredOutcome { rejected: false, answer: Bytes::new() };
        let staging = ended.take_staging();
        let (outcome, done) = match &ended {
            Ended::Answered(answer, _) => {
                let done = match answer.refusal() {
                    Some(refusal) => {
                        self.bury(arrived, work.title(), vec![format!("refused: {refusal}")], 1).await
                    }
                    None => Done::Handled,
                };
                // An answer that cannot be stored has nobody waiting for it.
                (stored_outcome(answer).unwrap_or(nothing), done)
            }
            _ => (nothing, self.conclude(ended, work).await),
        };
        match done {
            Done::Handled => {
                if !staging.is_empty() {
                    work.endpoint().note_staged();
                }
                let retention = arrived.retention(&self.node.config);
                self.complete((owned.key, owned.holder), &outcome, retention, &staging).await
            }
            // what was buried is no outcome: its replay runs under the same key
            Done::Buried | Done::Stopping => {
                let _ = self.node.stores.claims.release(owned.key, owned.holder).await; // else its lease ends
                Ran::Done(done)
            }
        }
    }

    /// Stores that the message was handled, with what was staged, also while the node stops: the handler has run.
    async fn complete(
        &self,
        (key, holder): (&ClaimKey, Holder),
        outcome: &StoredOutcome,
        retention: Duration,
        staging: &Staging,
    ) -> Ran {
        loop {
            match self.node.complete_claim((key, holder), outcome, retention, staging).await {
                Ok(Completed::Stored(pushed)) => {
                    if let Some(pushed) = pushed {
                        Box::pin(self.node.push(pushed)).await;
                    }
                    return Ran::Done(Done::Handled);
                }
                Ok(Completed::Fenced) => return Ran::Fenced,
                Ok(Completed::Overtaken) => {
                    let _ = self.node.stores.claims.release(key, holder).await; // else its lease ends
                    return Ran::Overtaken;
                }
                Err(error) if error.kind() == StoreErrorKind::Refused && !staging.is_empty() => {
                    let _ = self.node.stores.claims.release(key, holder).await; // else its lease ends
                    return Ran::Refused(error.to_string());
                }
                Ok(Completed::Full) => warn!("a handled message waits for room in the outbox"),
                Err(error) => warn!(%error, "a handled message could not be marked"),
            }
            if self.node.is_stopping() {
                return Ran::Fenced;
            }
            self.node.pause(AWAY_PAUSE).await;
        }
    }
}

/// How a run under a claim ended.
enum Ran {
    Done(Done),
    /// Another run took the claim over.
    Fenced,
    /// Another writer was faster: nothing is stored, and the claim was given back.
    Overtaken,
    /// What was staged can never be stored: nothing is, and the claim was given back.
    Refused(String),
}
