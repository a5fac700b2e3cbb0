//! Runs of a handler until it succeeds or gives up, and what is kept when it does.
use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tracing::{error, warn};
use uuid::Uuid;

use super::{AWAY_PAUSE, Arrived, Consumer, Done, Work};
use crate::{
    Answer, Audience, ClaimKey, Context, DeadLetter, Delivery, Failed, Fault, Fence, Holder,
    context::{Place, Staging},
    relay::Overtaken,
};

/// How long one attempt to bury a dead letter may take before it is tried again.
const BURY_TIMEOUT: Duration = Duration::from_secs(5);

/// How the runs of a handler ended.
pub(super) enum Ended {
    /// It answered, and staged this.
    Answered(Answer, Staging),
    /// It gave up, for this reason.
    GaveUp { fault: Fault, attempts: u32 },
    /// The node stops, or leads no more and this was for the leader.
    Stopping,
}

/// A claim that is ours.
pub(super) struct Owned<'a> {
    pub(super) key: &'a ClaimKey,
    pub(super) holder: Holder,
    /// Of the key's first claim.
    pub(super) message_id: Uuid,
}

/// One run of a handler.
struct Attempt {
    /// Runs before it that faulted.
    before: u32,
    /// When it runs for the leader.
    fence: Option<Fence>,
    deadline: Instant,
}

impl Ended {
    /// What it staged, when it answered.
    pub(super) fn take_staging(&mut self) -> Staging {
        match self {
            Self::Answered(_, staging) => std::mem::take(staging),
            _ => Staging::default(),
        }
    }

    /// What it staged can never be stored.
    pub(super) fn refused(error: String) -> Self {
        let fault = Fault::new(format!("what the handler staged was refused: {error}"));
        Self::GaveUp { fault, attempts: 1 }
    }

    /// Other writers were faster again and again.
    pub(super) fn overtaken(attempts: u32) -> Self {
        Self::GaveUp { fault: Fault::new(Overtaken), attempts }
    }
}

impl Consumer {
    /// Runs an event's handler to the end, when nothing is recorded with it. Refusals do not exist here: an
    /// event's error is `Never`.
    pub(super) async fn run(&self, work: &Work) -> Done {
        let ended = self.attempts(work, None).await;
        self.conclude(ended, work).await
    }

    /// Buries what gave up. A view's event is dropped: it is fed again at the next start, and the log has the
    /// error.
    pub(super) async fn conclude(&self, ended: Ended, work: &Work) -> Done {
        match ended {
            Ended::Stopping => Done::Stopping,
            Ended::GaveUp { fault, attempts } if self.audience != Audience::View => {
                Box::pin(self.bury(&work.arrived, work.title(), fault.chain(), attempts)).await
            }
            Ended::Answered(..) | Ended::GaveUp { .. } => Done::Handled,
        }
    }

    /// Runs the handler until it answers or its attempts are used up. Only runs that faulted are attempts.
    /// Under a claim each run sees the message id of the key's first claim.
    pub(super) async fn attempts(&self, work: &Work, claim: Option<&Owned<'_>>) -> Ended {
        let (node, endpoint) = (&self.node, work.endpoint());
        let mut attempts = 0;
        while !node.is_stopping() {
            if endpoint.admit_staging(node).is_err() {
                Box::pin(node.pause(AWAY_PAUSE)).await; // the broker is away, and enough waits for it
                continue;
            }
            let deadline = Instant::now() + endpoint.timeout;
            let fence = match endpoint.info.options.leader {
                None => None,
                Some(_) => match Box::pin(node.fence(deadline)).await {
                    Some(fence) => Some(fence),
                    None => return Ended::Stopping, // another node leads: it goes there
                },
            };
            let _led = fence.and(node.leading.as_ref()).map(|leading| leading.run());
            let cx = self.context(work, claim, &Attempt { before: attempts, fence, deadline });
            let fault = match endpoint.run(node, Delivery { body: work.body.clone(), cx: cx.clone() }).await {
                Ok(answer) => return Ended::Answered(answer, cx.take_staged()),
                Err(Failed::Overloaded) => {
                    Box::pin(node.pause(AWAY_PAUSE)).await; // its runs are all taken: not an attempt
                    continue;
                }
                // It was cancelled, which is not an attempt.
                Err(_) if fence.is_some_and(|fence| !node.leads_in(fence.term)) => return Ended::Stopping,
                Err(Failed::Faulted(fault)) => fault,
                Err(other) => Fault::new(other.to_string()),
            };
            attempts += 1;
            let (handler, name) = (work.title(), endpoint.info.name);
            if fault.is_poison() || attempts >= endpoint.attempts_max {
                error!(handler, name, attempts, %fault, "a message could not be handled");
                return Ended::GaveUp { fault, attempts };
            }
            let pause = fault.retry_after().unwrap_or_else(|| node.backoff(endpoint.backoff, attempts));
            warn!(handler, name, attempts, ?pause, %fault, "a handler failed, trying again");
            Box::pin(node.pause(pause)).await;
        }
        Ended::Stopping
    }

    /// What a run is given. Not part of the future: it is large before it is shared.
    fn context(&self, work: &Work, claim: Option<&Owned<'_>>, attempt: &Attempt) -> Arc<Context> {
        let incoming = &work.arrived.incoming;
        let mut cx = Context::new(work.server.clone(), incoming.clone(), attempt.deadline);
        cx.set_attempts_before(attempt.before);
        cx.set_leading(attempt.fence);
        if let Some(Owned { key, holder, message_id }) = claim {
            cx.set_claim(holder.fence, *message_id);
            cx.set_place(|| Place::Claim(Box::new((*key).clone())));
        } else if let (Some(marks), Some(_)) = (&self.marks, incoming.position) {
            cx.set_place(|| Place::Marks(marks.scope()));
        }
        Arc::new(cx)
    }

    /// Stores a dead letter, however long the broker is away: only then is the message settled.
    pub(super) async fn bury(
        &self,
        arrived: &Arrived,
        handler: &str,
        errors: Vec<String>,
        attempts: u32,
    ) -> Done {
        let letter = self.letter(arrived, handler, errors, attempts);
        loop {
            match self.node.transport.bury(letter.clone(), Instant::now() + BURY_TIMEOUT).await {
                Ok(()) => return Done::Buried,
                Err(error) => warn!(%error, "a dead letter could not be stored"),
            }
            if self.node.is_stopping() {
                return Done::Stopping;
            }
            self.node.pause(AWAY_PAUSE).await;
        }
    }

    pub(super) fn letter(
        &self,
        arrived: &Arrived,
        handler: &str,
        errors: Vec<String>,
        attempts: u32,
    ) -> DeadLetter {
        DeadLetter {
            message: (*arrived.incoming).clone(),
            handler: handler.to_owned(),
            node: self.node.identity.node.clone(),
            audience: self.audience.clone(),
            errors,
            attempts,
            replays: arrived.replays(),
            holds: arrived.holds,
        }
    }
}
