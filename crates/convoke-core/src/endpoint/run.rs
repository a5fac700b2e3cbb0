//! One run of a handler: bounded in time, safe against panics, and what it staged leaves with its outcome.
use std::{
    any::Any,
    future::poll_fn,
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

use futures_util::FutureExt;
use tokio::time::{Instant, Sleep, sleep_until};
use tracing::{Instrument, warn};

use crate::{
    Context, Delivered, Delivery, Failed, Fence, NotLeader,
    context::{Due, Staged, Staging},
    endpoint::Endpoint,
    node::NodeInner,
};

/// How long the broker may take to store what a handler staged. The caller's deadline does not shorten it: the
/// handler has run, and its events must not be lost to a caller's impatience.
const STAGED_TIMEOUT: Duration = Duration::from_secs(5);

/// The future's output, or `None` when the deadline comes first. The timer is made only when the future is
/// not ready at once: it makes up most of the cost and of the size of a short call.
pub(crate) async fn before<F: Future + Unpin>(
    deadline: impl Fn() -> Instant,
    mut future: F,
) -> Option<F::Output> {
    let mut late: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|task| {
        if let Poll::Ready(output) = Pin::new(&mut future).poll(task) {
            return Poll::Ready(Some(output));
        }
        late.get_or_insert_with(|| Box::pin(sleep_until(deadline()))).as_mut().poll(task).map(|()| None)
    })
    .await
}

/// What a panic says.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("the handler panicked: {}", text.as_deref().unwrap_or("no text"))
}

impl Endpoint {
    /// Runs the behaviours and the handler once. Holds a permit while it does.
    pub(crate) async fn run(&self, node: &NodeInner, delivery: Delivery) -> Delivered {
        let _permit = match self.gate.try_run() {
            Some(permit) => permit,
            None => Box::pin(self.gate.run(delivery.cx.deadline())).await?,
        };
        let cx = delivery.cx.clone();
        let span = tracing::info_span!(
            "handle",
            node = cx.node(),
            name = cx.name(),
            handler = cx.handler(),
            id = %cx.id(),
        );
        let run = crate::trace::within(cx.traceparent(), self.link.run(delivery));
        let run = AssertUnwindSafe(run).catch_unwind();
        let run = pin!(run.instrument(span));
        let run = before(|| cx.deadline(), run);
        let ran = match cx.leader_fence() {
            None => run.await,
            Some(fence) => Box::pin(node.run_led(fence, &cx, run)).await?,
        };
        let answer = match ran {
            None => return Err(Failed::TimedOut),
            Some(Err(panic)) => {
                let text = panic_text(&*panic);
                warn!(handler = cx.handler(), text, "a handler panicked");
                return Err(Failed::fault(text));
            }
            Some(Ok(delivered)) => delivered?,
        };
        if cx.was_misused() {
            return Err(Failed::fault("a view may not publish: it is replayed at every start"));
        }
        if answer.is_rejected() {
            cx.take_staged(); // it never leaves
        } else if !cx.commits_later() {
            let staged = cx.take_staged();
            if !staged.is_empty() {
                if node.relay.is_some() {
                    self.note_staged();
                }
                Box::pin(node.release_staged(staged)).await?;
            }
        }
        Ok(answer)
    }
}

impl NodeInner {
    /// Runs while this node leads. When that ends the run is cancelled, or its answer not accepted.
    async fn run_led<T>(
        &self,
        fence: Fence,
        cx: &Context,
        run: impl Future<Output = T>,
    ) -> Result<T, Failed> {
        let leading = self.leading.as_ref().expect("a fence is given by a cluster");
        let before = cx.attempt();
        if let Some(ran) = leading.while_leading(fence.term, run).await {
            return Ok(ran);
        }
        if cx.attempt() == before {
            return Err(NotLeader::default().into()); // the handler did not begin
        }
        warn!(handler = cx.handler(), %fence, "a run was cancelled: this node leads no more");
        Err(Failed::Disconnected) // it may have done something
    }

    /// Lets go what a handler staged, and waits until it is stored: in the outbox, when there is one; else each
    /// message by the broker, in order.
    pub(crate) async fn release_staged(&self, staged: Staging) -> Result<(), Failed> {
        if let Some(relay) = &self.relay
            && self.append_staged(relay, &staged).await?
        {
            return Ok(());
        }
        let deadline = Instant::now() + STAGED_TIMEOUT;
        for Staged { message, due } in staged.messages {
            let name = message.name;
            let stored = match due {
                Due::Published => self.transport.publish(message, deadline).await,
                Due::Enqueued(due) => self.transport.enqueue(message, due, deadline).await,
            };
            if let Err(error) = stored {
                warn!(name, %error, "a staged message could not be stored");
                return Err(Failed::fault(format!("a staged `{name}` could not be stored: {error}")));
            }
        }
        Ok(())
    }
}
