use std::sync::Arc;
use std::time::Duration;

use convoke_core::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::kind::Kind;
use super::lane::Lane;
use super::link::LinkError;
use super::peers::Peers;
use super::service::Service;
use crate::engine::calls::{Ask, Reach, Reply};
use crate::{Error, ErrorKind, NodeId};

/// Bytes of commands that are on their way to other members. One more waits.
pub(crate) const ASK_BYTES_IN_FLIGHT_MAX: usize = 32 * 1024 * 1024;
/// The longest time that an asker can give: what stands in a frame is not to be believed beyond it.
const WITHIN_MAX: Duration = Duration::from_secs(3600);

/// A question, and how much time there is for its answer when it arrives.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Asked {
    within_ms: u64,
    ask: Ask,
}

impl Asked {
    /// Answers a question that arrived. Whoever does not say whom it calls may ask only what anybody can answer.
    pub(super) fn answer(
        self,
        service: &dyn Service,
        knows_whom: bool,
    ) -> BoxFuture<'_, Result<Reply, String>> {
        Box::pin(async move {
            if !knows_whom && !matches!(self.ask, Ask::Leader | Ask::Seat { .. }) {
                let message = "whoever asks this must know whom it asks".to_owned();
                return Ok(Reply::Failed { kind: ErrorKind::Refused, message });
            }
            let deadline = Instant::now() + Duration::from_millis(self.within_ms).min(WITHIN_MAX);
            let reply = timeout_at(deadline, service.answer(self.ask, deadline)).await;
            Ok(reply.unwrap_or_else(|_| {
                let error = Error::timed_out();
                Reply::Failed { kind: error.kind(), message: error.to_string() }
            }))
        })
    }
}

/// The way to other members for what our own clients want.
#[derive(Debug, Clone)]
pub(crate) struct Calls {
    peers: Arc<Peers>,
    bytes: Arc<Semaphore>,
}

impl Calls {
    pub(crate) fn new(peers: Arc<Peers>) -> Self {
        Self { peers, bytes: Arc::new(Semaphore::new(ASK_BYTES_IN_FLIGHT_MAX)) }
    }

    async fn call(
        &self,
        id: Option<NodeId>,
        raft: &str,
        ask: Ask,
        deadline: Instant,
    ) -> Result<Reply, Error> {
        let unavailable = |why: &str| Error::unavailable(format!("{}: {why}", whom(id, raft)));
        let room = timeout_at(deadline, self.bytes.acquire_many(weight(&ask))).await;
        let _room = room
            .map_err(|_| Error::overloaded("too many bytes are on their way to other members"))?
            .map_err(|_| Error::stopped())?;
        let link = timeout_at(deadline, self.peers.dial(id, raft, Lane::Calls).link()).await;
        let link = link
            .map_err(|_| unavailable("no connection in time"))?
            .map_err(|away| unavailable(&away.to_string()))?;
        let within_ms = deadline.saturating_duration_since(Instant::now()).as_millis();
        let asked = Asked { within_ms: u64::try_from(within_ms).unwrap_or(u64::MAX), ask };
        link.ask(Kind::Ask, &asked, deadline).await.map_err(|error| match error {
            LinkError::NotSent(why) | LinkError::Failed(why) => unavailable(&why),
            LinkError::Lost(why) => Error::timed_out().because(format!("{}: {why}", whom(id, raft))),
        })
    }
}

impl Reach for Calls {
    fn ask<'a>(
        &'a self,
        id: Option<NodeId>,
        raft: &'a str,
        ask: Ask,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Reply, Error>> {
        Box::pin(self.call(id, raft, ask, deadline))
    }
}

fn whom(id: Option<NodeId>, raft: &str) -> String {
    id.map_or_else(|| raft.to_owned(), |id| format!("node {id} at {raft}"))
}

/// How much of the room for bytes a question takes. Never more than there is.
fn weight(ask: &Ask) -> u32 {
    use crate::engine::types::Op;
    let bytes = match ask {
        Ask::Propose { op: Op::Machine(command) | Op::Lock(command), .. } => command.len(),
        _ => 0,
    };
    u32::try_from(bytes.min(ASK_BYTES_IN_FLIGHT_MAX)).expect("the room has fewer than 4 GiB")
}
