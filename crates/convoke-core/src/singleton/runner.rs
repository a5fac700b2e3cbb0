use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::{SingletonContext, SingletonState, state::One};
use crate::{BoxError, Fence, Leadership, endpoint::panic_text, leading::Leading, node::NodeInner};

/// The pause after a first failure; it doubles with each that follows, and is jittered by a fifth.
const PAUSE: Duration = Duration::from_millis(200);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A run that lasted so long did its work: the pause after it is the first one again.
const STEADY: Duration = Duration::from_secs(60);
/// How long a leader may take to confirm that it leads, before it is asked again.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(2);
/// The pause before it is asked again.
const CONFIRM_PAUSE: Duration = Duration::from_millis(100);

/// Starts the singletons of a node. Dropping the set ends them.
pub(crate) fn start(node: &Arc<NodeInner>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let Some(leading) = &node.leading else { return tasks };
    for one in &leading.singletons.each {
        let (node, one, running) = (node.clone(), one.clone(), leading.singletons.begin());
        tasks.spawn(async move {
            let _running = running;
            let Some(leading) = &node.leading else { return };
            tokio::select! {
                biased;
                () = leading.closing() => {}
                () = live(&node, leading, &one) => {}
            }
            one.set(SingletonState::Waiting);
        });
    }
    tasks
}

/// Runs in each term in which this node leads.
async fn live(node: &Arc<NodeInner>, leading: &Leading, one: &One) {
    let mut watch = leading.watch();
    loop {
        let Ok(term) = watch.wait_for(Leadership::is_leader).await.map(|now| now.term()) else {
            return; // the coordinator is gone
        };
        let Some(term) = term else { continue };
        if leading.while_leading(term, in_term(node, leading, one, term)).await.is_none() {
            info!(singleton = &*one.name, term, "a singleton was stopped: this node leads no more");
        }
        one.set(SingletonState::Waiting);
    }
}

/// Runs until it ends well; dropped when the term ends.
async fn in_term(node: &Arc<NodeInner>, leading: &Leading, one: &One, term: u64) {
    let mut failures = 0;
    for attempt in 1_u32.. {
        let fence = confirmed(leading, term).await;
        one.set(SingletonState::Running);
        let began = Instant::now();
        let Err(error) = run(node, one, fence, attempt).await else {
            debug!(singleton = &*one.name, %fence, "a singleton is done for this term");
            one.set(SingletonState::Done);
            return std::future::pending().await;
        };
        failures = if began.elapsed() >= STEADY { 1 } else { failures + 1 };
        let pause = pause(failures);
        warn!(singleton = &*one.name, %error, ?pause, "a singleton failed, starting it again");
        one.failed(&error.to_string());
        sleep(pause).await;
    }
}

/// Waits until it is confirmed that this node leads. Whoever waits is dropped when the term ends.
async fn confirmed(leading: &Leading, term: u64) -> Fence {
    loop {
        match leading.confirm(term, Instant::now() + CONFIRM_TIMEOUT).await {
            Ok(fence) => return fence,
            Err(_) => sleep(CONFIRM_PAUSE).await,
        }
    }
}

async fn run(node: &Arc<NodeInner>, one: &One, fence: Fence, attempt: u32) -> Result<(), BoxError> {
    info!(singleton = &*one.name, %fence, attempt, "a singleton starts");
    let cx = SingletonContext { node: node.clone(), name: one.name.clone(), fence, attempt };
    let run = AssertUnwindSafe(async { one.task.run(cx).await }).catch_unwind();
    run.await.unwrap_or_else(|panic| Err(panic_text(&*panic).into()))
}

fn pause(failures: u32) -> Duration {
    let doubled = PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(PAUSE_MAX);
    let jitter = f64::from(Uuid::now_v7().as_bytes()[15]) / 255.0;
    doubled.mul_f64(0.8 + 0.4 * jitter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_with_failures_up_to_their_limit() {
        for (failures, about) in
            [(1, PAUSE), (2, PAUSE * 2), (4, PAUSE * 8), (9, PAUSE_MAX), (u32::MAX, PAUSE_MAX)]
        {
            let paused = pause(failures);
            assert!((about.mul_f64(0.79)..=about.mul_f64(1.21)).contains(&paused), "{failures}: {paused:?}");
        }
    }
}
