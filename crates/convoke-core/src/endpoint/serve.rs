use std::sync::Arc;

use futures_util::FutureExt;
use tokio::time::Instant;

use crate::{
    Answered, BoxFuture, Context, Delivered, Delivery, Failed, Incoming, MessageBody, Payload, Serve,
    endpoint::{Endpoint, led::Asked},
    node::NodeInner,
    relay::OVERTAKEN_MAX,
};

/// An endpoint as a transport sees it.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) node: Arc<NodeInner>,
    pub(crate) endpoint: Arc<Endpoint>,
}

impl Serve for Server {
    fn serve(&self, incoming: Incoming) -> BoxFuture<'static, Answered> {
        // Nothing around it: each layer of futures would hold what arrived once more.
        Box::pin(self.endpoint.clone().serve(self.node.clone(), incoming).map(failed_or_not))
    }
}

impl Endpoint {
    /// Handles one request from its arrival to its answer.
    async fn serve(self: Arc<Self>, node: Arc<NodeInner>, incoming: Incoming) -> Result<Answered, Failed> {
        let _admitted = self.gate.admit()?;
        let now = Instant::now();
        let (deadline, body) = self.opened(&node, &incoming, now)?;
        if self.info.options.leader.is_some() {
            let asked = Asked { body, incoming, deadline, forwarded: false };
            return Box::pin(self.serve_led(&node, asked)).await;
        }
        self.admit_staging(&node)?;
        if self.info.idempotent {
            // a box of its own: it is large, and most requests are not idempotent
            return Box::pin(self.serve_once(&node, body, incoming.envelope, deadline, None)).await;
        }
        let deadline = deadline.min(now + self.timeout);
        let cx = Context::new(node.clone(), self.clone(), incoming.envelope, deadline);
        if self.writes {
            return Box::pin(self.serve_writing(&node, body, cx)).await;
        }
        answered(self.run(&node, Delivery { body, cx: Arc::new(cx) }).await, false)
    }

    /// Until when somebody waits, and what is asked; or what is wrong with it.
    pub(super) fn opened(
        &self,
        node: &NodeInner,
        incoming: &Incoming,
        now: Instant,
    ) -> Result<(Instant, Arc<dyn MessageBody>), Failed> {
        let deadline = match &incoming.envelope.expiry {
            Some(expiry) if expiry.is_stale_at(node.wall.unix_ms(now)) => return Err(Failed::TimedOut),
            Some(expiry) => incoming.received + expiry.remaining,
            None => incoming.received + node.config.request_timeout,
        };
        if deadline <= now {
            return Err(Failed::TimedOut); // the caller has given up: no work is started for nobody
        }
        let body = self
            .read(&incoming.payload, &node.config.limits)
            .map_err(|error| Failed::Undecodable(error.to_string()))?;
        body.validate().map_err(Failed::Invalid)?;
        Ok((deadline, body))
    }

    /// Runs again while another writer was faster.
    pub(super) async fn serve_writing(
        &self,
        node: &NodeInner,
        body: Arc<dyn MessageBody>,
        cx: Context,
    ) -> Result<Answered, Failed> {
        let cx = Arc::new(cx);
        let mut overtaken = 0;
        loop {
            let delivered = self.run(node, Delivery { body: body.clone(), cx: cx.clone() }).await;
            overtaken += 1;
            match &delivered {
                Err(failed) if failed.is_overtaken() && overtaken < OVERTAKEN_MAX => {}
                _ => return answered(delivered, false),
            }
        }
    }

    pub(crate) async fn run_once(
        &self,
        node: &Arc<NodeInner>,
        body: Arc<dyn MessageBody>,
        cx: Arc<Context>,
    ) -> Delivered {
        self.run(node, Delivery { body, cx }).await
    }
}

fn failed_or_not(served: Result<Answered, Failed>) -> Answered {
    served.unwrap_or_else(Answered::Failed)
}

/// A delivery's end as an answer.
pub(super) fn answered(delivered: Delivered, replayed: bool) -> Result<Answered, Failed> {
    let answer = delivered?;
    let rejected = answer.is_rejected();
    let payload = Payload::Answer(answer.body);
    Ok(if rejected {
        Answered::Rejected { payload, replayed }
    } else {
        Answered::Replied { payload, replayed }
    })
}
