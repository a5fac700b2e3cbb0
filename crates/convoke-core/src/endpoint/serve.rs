use std::{ops::Deref, sync::Arc};

use futures_util::FutureExt;
use tokio::time::Instant;

use crate::{
    Answered, BoxFuture, Context, Delivered, Delivery, Failed, Incoming, MessageBody, Payload, Serve,
    endpoint::{Endpoint, led::Asked},
    node::NodeInner,
    relay::OVERTAKEN_MAX,
};

/// A handler and its node, as a transport sees it. One count for both, because each call has it.
#[derive(Clone)]
pub(crate) struct Server(Arc<Here>);

/// What a [`Server`] shares. Its count has a cache line of its own.
#[repr(align(64))]
pub(crate) struct Here {
    pub(crate) node: Arc<NodeInner>,
    pub(crate) endpoint: Arc<Endpoint>,
}

impl Deref for Server {
    type Target = Here;

    fn deref(&self) -> &Here {
        &self.0
    }
}

impl Serve for Server {
    fn serve(&self, incoming: Incoming) -> BoxFuture<'static, Answered> {
        // Nothing around it: each layer of futures would hold what arrived once more.
        Box::pin(self.clone().handle(incoming).map(failed_or_not))
    }
}

impl Server {
    pub(crate) fn new(node: Arc<NodeInner>, endpoint: Arc<Endpoint>) -> Self {
        Self(Arc::new(Here { node, endpoint }))
    }

    /// The same server with a count of its own.
    pub(crate) fn apart(&self) -> Self {
        Self::new(self.node.clone(), self.endpoint.clone())
    }

    /// Handles one request from its arrival to its answer.
    async fn handle(self, incoming: Incoming) -> Result<Answered, Failed> {
        let Here { node, endpoint } = &*self;
        let _admitted = endpoint.gate.admit()?;
        let now = Instant::now();
        let (deadline, body) = endpoint.opened(node, &incoming, now)?;
        if endpoint.info.options.leader.is_some() {
            let asked = Asked { body, incoming, deadline, forwarded: false };
            return Box::pin(self.serve_led(asked)).await;
        }
        endpoint.admit_staging(node)?;
        if endpoint.info.idempotent {
            // a box of its own: it is large, and most requests are not idempotent
            return Box::pin(self.serve_once(body, incoming.envelope, deadline, None)).await;
        }
        let deadline = deadline.min(now + endpoint.timeout);
        let cx = Context::new(self.clone(), incoming.envelope, deadline);
        if endpoint.writes {
            return Box::pin(self.serve_writing(body, cx)).await;
        }
        answered(endpoint.run(node, Delivery { body, cx: Arc::new(cx) }).await, false)
    }

    /// Runs again while another writer was faster.
    pub(super) async fn serve_writing(
        &self,
        body: Arc<dyn MessageBody>,
        cx: Context,
    ) -> Result<Answered, Failed> {
        let cx = Arc::new(cx);
        let mut overtaken = 0;
        loop {
            let delivered = self.run(body.clone(), cx.clone()).await;
            overtaken += 1;
            match &delivered {
                Err(failed) if failed.is_overtaken() && overtaken < OVERTAKEN_MAX => {}
                _ => return answered(delivered, false),
            }
        }
    }

    pub(super) async fn run(&self, body: Arc<dyn MessageBody>, cx: Arc<Context>) -> Delivered {
        self.endpoint.run(&self.node, Delivery { body, cx }).await
    }
}

impl Endpoint {
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
