//! A handler that is for the leader: here when this node leads, elsewhere when another one does.
use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::debug;

use super::serve::{Here, Server};
use crate::{
    Answered, BoxFuture, Context, Failed, Fence, Incoming, LANE_UNKEYED, Leader, LeaderInfo, Leadership,
    MessageBody, NotLeader, Outgoing, TransportError, TransportErrorKind, endpoint::Endpoint,
    leading::Leading,
};

/// The pause before a request that reached nobody is forwarded again, unless another leader is known sooner.
const FORWARD_PAUSE: Duration = Duration::from_millis(100);

/// How long before the caller's deadline it is told that there is no leader: a tenth of the time left, at most this.
const NO_LEADER_MARGIN: Duration = Duration::from_millis(100);

/// A request for the leader, read and checked.
pub(super) struct Asked {
    pub(super) body: Arc<dyn MessageBody>,
    pub(super) incoming: Incoming,
    pub(super) deadline: Instant,
    /// Another node sent it here as to the leader: it goes no further.
    pub(super) forwarded: bool,
}

impl Server {
    /// A request that another node forwarded here.
    pub(crate) fn forwarded(self, incoming: Incoming) -> BoxFuture<'static, Answered> {
        Box::pin(async move {
            let served = async {
                let Here { node, endpoint } = &*self;
                let _admitted = endpoint.gate.admit()?;
                let (deadline, body) = endpoint.opened(node, &incoming, Instant::now())?;
                if endpoint.info.options.leader.is_none() {
                    // this version of the service lets any node handle it
                    return self.carry_out(body, incoming, deadline, None).await;
                }
                let asked = Asked { body, incoming, deadline, forwarded: true };
                self.serve_led(asked).await
            };
            served.await.unwrap_or_else(Answered::Failed)
        })
    }

    /// Handles it as the leader, or hands it to the leader. While none is known it waits for one, no longer than
    /// the configuration's `leader_wait`.
    pub(super) async fn serve_led(&self, asked: Asked) -> Result<Answered, Failed> {
        let Here { node, endpoint } = &**self;
        let leading = node.leading.as_ref().expect("the build refuses a leader's handler without a cluster");
        let forwards = endpoint.info.options.leader == Some(Leader::Forward) && !asked.forwarded;
        let now = Instant::now();
        let left = asked.deadline.saturating_duration_since(now);
        let answer_by = asked.deadline - NO_LEADER_MARGIN.min(left / 10);
        let give_up = answer_by.min(now + node.config.leader_wait);
        let mut watch = leading.watch();
        loop {
            let seen = watch.borrow_and_update().clone();
            let refused = match seen {
                Leadership::Leader { term } => match leading.confirm(term, answer_by).await {
                    Ok(fence) => {
                        let _run = leading.run();
                        let Asked { body, incoming, deadline, .. } = &asked;
                        let ran = self.carry_out(body.clone(), incoming.clone(), *deadline, Some(fence));
                        match ran.await {
                            // it led no more before anything ran
                            Err(failed @ Failed::NotLeader { .. }) if forwards => failed,
                            ended => return ended,
                        }
                    }
                    Err(not) => not.into(),
                },
                Leadership::Follower { leader } if forwards && leader.node != node.identity.node => {
                    match self.pass_on(leading, &leader, &asked).await {
                        Ok(ended) => return ended,
                        Err(refused) => refused,
                    }
                }
                Leadership::Follower { leader } => NotLeader { leader: Some(leader) }.into(),
                Leadership::NoLeader => NotLeader::default().into(),
            };
            let again = give_up.min(Instant::now() + FORWARD_PAUSE);
            if !forwards || Instant::now() >= give_up {
                return Err(refused);
            }
            // Another leader, or time for another look.
            if let Ok(Err(_)) = timeout_at(again, watch.changed()).await {
                sleep_until(again).await; // the coordinator is gone, and nothing will change
            }
        }
    }

    /// Asks the leader. `Err` with what to say when it certainly did not run there.
    async fn pass_on(
        &self,
        leading: &Leading,
        leader: &LeaderInfo,
        asked: &Asked,
    ) -> Result<Result<Answered, Failed>, Failed> {
        match leading.forward(leader, self.endpoint.outgoing(&asked.incoming), asked.deadline).await {
            Ok(Answered::Failed(failed @ Failed::NotLeader { .. })) => Err(failed),
            Ok(answered) => Ok(Ok(answered)),
            Err(error) if reached_nobody(&error) => {
                debug!(%leader, %error, "the leader could not be reached");
                Err(Failed::Unavailable(format!("the leader {leader}: {error}")))
            }
            Err(error) => Ok(Err(error.into())),
        }
    }

    /// Handles a request here: once per key when it is idempotent, and as the leader when there is a fence.
    async fn carry_out(
        &self,
        body: Arc<dyn MessageBody>,
        incoming: Incoming,
        deadline: Instant,
        fence: Option<Fence>,
    ) -> Result<Answered, Failed> {
        let Here { node, endpoint } = &**self;
        endpoint.admit_staging(node)?;
        if endpoint.info.idempotent {
            return self.serve_once(body, incoming.envelope, deadline, fence).await;
        }
        let deadline = deadline.min(Instant::now() + endpoint.timeout);
        let mut cx = Context::new(self.clone(), incoming.envelope, deadline);
        cx.set_leading(fence);
        self.serve_writing(body, cx).await
    }
}

impl Endpoint {
    /// What arrived, on its way out again: the same id, key, headers and trace.
    fn outgoing(&self, incoming: &Incoming) -> Outgoing {
        incoming.envelope.id(); // made now, so that what is forwarded again carries the same
        Outgoing {
            name: self.info.name,
            kind: self.info.kind,
            lane: LANE_UNKEYED,
            payload: incoming.payload.clone(),
            envelope: incoming.envelope.clone(),
        }
    }
}

/// Whether a forwarded request certainly did not arrive.
pub(crate) fn reached_nobody(error: &TransportError) -> bool {
    matches!(error.kind(), TransportErrorKind::Unavailable | TransportErrorKind::NoHandler)
}
