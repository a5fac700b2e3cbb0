//! One completed run per key: claim, run under a lease, store the outcome; a repeat gets what was stored.
use std::{pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tracing::{debug, warn};
use uuid::Uuid;

use super::serve::{Here, Server, answered};
use crate::{
    Answer, Answered, Claim, ClaimKey, ClaimStore, Claimed, Codec, Context, Delivered, Envelope, Failed,
    Fence, Holder, MessageBody, OnStoreError, Payload, StoreError, StoreErrorKind, StoredOutcome,
    context::{Place, Staging},
    endpoint::Endpoint,
    fingerprint,
    node::NodeInner,
    relay::{Completed, OVERTAKEN_MAX},
};

/// How long storing an outcome may take. The caller's deadline does not shorten it: the handler has run.
const COMPLETE_TIMEOUT: Duration = Duration::from_secs(5);

/// The pause before an outcome is stored again.
const COMPLETE_PAUSE: Duration = Duration::from_millis(50);

/// The longest a waiting repeat sleeps before it looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// How long before the caller's deadline a waiting repeat is told that the run still goes on: told later, the
/// answer would come too late. A tenth of the time left, at most this.
const IN_PROGRESS_MARGIN: Duration = Duration::from_millis(100);

/// A claim, and when it was asked for: the store's clock started the lease no earlier.
#[derive(Clone, Copy)]
pub(crate) struct Held {
    pub(crate) holder: Holder,
    pub(crate) since: Instant,
}

/// What a claim came to.
enum Turn {
    Run {
        held: Held,
        message_id: Uuid,
        attempt: u32,
    },
    Replay(StoredOutcome),
    /// The store is away, and the handler said to go on.
    Unclaimed,
}

impl Server {
    pub(super) async fn serve_once(
        &self,
        body: Arc<dyn MessageBody>,
        envelope: Envelope,
        deadline: Instant,
        fence: Option<Fence>,
    ) -> Result<Answered, Failed> {
        let Here { node, endpoint } = &**self;
        let key = node.claim_key(endpoint.info.name, &envelope);
        let encoded = body.encode(Codec::MessagePack).map_err(|e| Failed::Undecodable(e.to_string()))?;
        let fingerprint = fingerprint(endpoint.info.name, &encoded);
        let mut overtaken = 0;
        loop {
            let claim = Claim {
                owner: Uuid::now_v7(),
                message_id: envelope.id(),
                fingerprint,
                lease: node.config.lease,
            };
            let (held, message_id, attempt) = match endpoint.turn(node, &key, claim, deadline).await? {
                Turn::Replay(outcome) => return Ok(replay(outcome)),
                Turn::Run { held, message_id, attempt } => (Some(held), message_id, attempt),
                Turn::Unclaimed => (None, envelope.id(), 1),
            };
            let run_deadline = deadline.min(Instant::now() + endpoint.timeout);
            let mut cx = Context::new(self.clone(), envelope.clone(), run_deadline);
            cx.set_attempts_before(attempt.saturating_sub(1));
            cx.set_leading(fence);
            let Some(held) = held else {
                return answered(self.run(body, Arc::new(cx)).await, false);
            };
            let holder = held.holder;
            cx.set_claim(holder.fence, message_id);
            cx.set_place(|| Place::Claim(Box::new(key.clone())));
            let cx = Arc::new(cx);
            let run = self.run(body.clone(), cx.clone());
            if let Some(delivered) =
                under_lease(&node.stores.claims, &key, held, node.config.lease, run).await
                && let Some(ended) = endpoint.complete(node, &key, holder, (delivered, &cx)).await
            {
                match ended {
                    Err(failed) if failed.is_overtaken() && overtaken < OVERTAKEN_MAX => {
                        overtaken += 1;
                        continue; // the claim was given back
                    }
                    ended => return ended,
                }
            }
            // The lease was lost: another node may run it now. Its outcome is the outcome.
            warn!(
                name = endpoint.info.name,
                fence = holder.fence,
                "a run was fenced: another node took the key over"
            );
        }
    }
}

impl Endpoint {
    /// Claims the key; waits for a run elsewhere, holding no permit, until the deadline.
    async fn turn(
        &self,
        node: &NodeInner,
        key: &ClaimKey,
        claim: Claim,
        deadline: Instant,
    ) -> Result<Turn, Failed> {
        let claims = &*node.stores.claims;
        let left = deadline.saturating_duration_since(Instant::now());
        let answer_by = deadline - IN_PROGRESS_MARGIN.min(left / 10);
        loop {
            let since = Instant::now();
            let claimed = timeout_at(deadline, claims.claim(key, claim)).await;
            match claimed.unwrap_or_else(|_| Err(StoreError::unavailable("no answer before the deadline"))) {
                Ok(Claimed::Owned { fence, message_id, attempt }) => {
                    let holder = Holder { owner: claim.owner, fence };
                    return Ok(Turn::Run { held: Held { holder, since }, message_id, attempt });
                }
                Ok(Claimed::Done(outcome)) => return Ok(Turn::Replay(outcome)),
                Ok(Claimed::Mismatch) => return Err(Failed::KeyReused),
                Ok(Claimed::Busy { remaining }) => {
                    let left = answer_by.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(Failed::InProgress);
                    }
                    claims.changed(key, remaining.min(left).min(LOOK_AGAIN)).await;
                }
                Err(error) if self.info.options.on_store_error == OnStoreError::Proceed => {
                    warn!(name = self.info.name, %error, "running without a claim: a repeat may run again");
                    return Ok(Turn::Unclaimed);
                }
                Err(error) => {
                    warn!(name = self.info.name, %error, "refused: the idempotency store is away");
                    return Err(Failed::Unavailable(format!("{}: {error}", claims.name())));
                }
            }
        }
    }
}

/// Runs while the lease holds. `None`: it was lost, and the run was cancelled.
pub(crate) async fn under_lease<T>(
    claims: &Arc<dyn ClaimStore>,
    key: &ClaimKey,
    held: Held,
    lease: Duration,
    run: impl Future<Output = T>,
) -> Option<T> {
    let mut run = pin!(run);
    let lost = async {
        let mut held_until = held.since + lease;
        let mut next = held.since + lease / 3;
        loop {
            sleep_until(next).await;
            let asked = Instant::now();
            match timeout_at(held_until, claims.renew(key, held.holder, lease)).await {
                Ok(Ok(true)) => {
                    held_until = asked + lease;
                    next = asked + lease / 3;
                }
                Ok(Ok(false)) => return,
                Ok(Err(error)) => {
                    debug!(%error, "a lease could not be renewed, trying again");
                    next = Instant::now() + lease / 10;
                    if next >= held_until {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    };
    tokio::select! {
        biased;
        output = &mut run => Some(output),
        () = lost => None,
    }
}

impl Endpoint {
    /// Stores the outcome and what was staged, or gives the key back after a failure. `None`: fenced.
    async fn complete(
        &self,
        node: &NodeInner,
        key: &ClaimKey,
        holder: Holder,
        (delivered, cx): (Delivered, &Context),
    ) -> Option<Result<Answered, Failed>> {
        let (answer, outcome) = match delivered.and_then(|answer| Ok((stored_outcome(&answer)?, answer))) {
            Ok((outcome, answer)) => (answer, outcome),
            Err(failed) => return Some(give_back(node, key, holder, failed).await),
        };
        let staging = cx.take_staged();
        if !staging.is_empty() {
            self.note_staged();
        }
        match tokio::time::timeout(COMPLETE_TIMEOUT, completed(node, (key, holder), &outcome, &staging)).await
        {
            Ok(Ok(Completed::Stored(pushed))) => {
                if let Some(pushed) = pushed {
                    Box::pin(node.push(pushed)).await;
                }
                Some(answered(Ok(answer), false))
            }
            Ok(Ok(Completed::Fenced)) => None,
            Ok(Ok(Completed::Overtaken)) => Some(give_back(node, key, holder, Failed::overtaken()).await),
            Ok(Ok(Completed::Full)) => Some(give_back(node, key, holder, Failed::outbox_full()).await),
            Ok(Err(error)) => {
                let failed = Failed::fault(format!("ran, but the outcome was refused: {error}"));
                Some(give_back(node, key, holder, failed).await)
            }
            Err(_) => Some(Err(Failed::fault("ran, but storing the outcome took too long"))),
        }
    }
}

/// Asks until the store has answered: the handler has run, and a call whose answer was lost may be repeated.
async fn completed(
    node: &NodeInner,
    held: (&ClaimKey, Holder),
    outcome: &StoredOutcome,
    staging: &Staging,
) -> Result<Completed, StoreError> {
    loop {
        match node.complete_claim(held, outcome, node.config.retention, staging).await {
            Err(error) if error.kind() != StoreErrorKind::Refused => {
                debug!(%error, "an outcome could not be stored, trying again");
                sleep(COMPLETE_PAUSE).await;
            }
            ended => return ended,
        }
    }
}

async fn give_back(
    node: &NodeInner,
    key: &ClaimKey,
    holder: Holder,
    failed: Failed,
) -> Result<Answered, Failed> {
    if let Err(error) = node.stores.claims.release(key, holder).await {
        debug!(%error, "a claim was not released; its lease will end");
    }
    Err(failed)
}

/// An answer as it is stored.
pub(crate) fn stored_outcome(answer: &Answer) -> Result<StoredOutcome, Failed> {
    let bytes = answer.body.encode(Codec::MessagePack).map_err(Failed::fault)?;
    if bytes.len() > StoredOutcome::BYTES_MAX {
        return Err(Failed::fault("the answer is larger than a stored outcome may be (256 KiB)"));
    }
    Ok(StoredOutcome { rejected: answer.is_rejected(), answer: bytes })
}

/// A stored outcome as an answer.
fn replay(outcome: StoredOutcome) -> Answered {
    let bytes: Bytes = outcome.answer;
    let payload = Payload::Bytes { codec: Codec::MessagePack, bytes };
    if outcome.rejected {
        Answered::Rejected { payload, replayed: true }
    } else {
        Answered::Replied { payload, replayed: true }
    }
}

impl NodeInner {
    /// The record of one idempotent command.
    pub(crate) fn claim_key(&self, name: &str, envelope: &Envelope) -> ClaimKey {
        let key = match &envelope.idempotency_key {
            Some(key) => key.to_string(),
            None => envelope.id().to_string(),
        };
        ClaimKey { scope: format!("{}:{name}", self.identity.namespace), key }
    }
}
