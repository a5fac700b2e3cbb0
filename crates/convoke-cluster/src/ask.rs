//! What the clients ask of their node, with the deadline kept whatever the node does.

use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use crate::{Consistency, Error, ErrorKind, coding, engine::types::Op, propose::Propose};

/// The node answers by the deadline itself, and knows better why it could not.
const GRACE: Duration = Duration::from_millis(100);

/// Proposes, and reads the answer.
pub(crate) async fn propose<A: DeserializeOwned>(
    node: &dyn Propose,
    op: Op,
    deadline: Instant,
) -> Result<A, Error> {
    let applied = timeout_at(deadline + GRACE, node.propose(op, deadline))
        .await
        .unwrap_or_else(|_| Err(Error::timed_out()))?;
    if applied.forgotten {
        return Err(Error::forgotten());
    }
    coding::decode(&applied.answer).ok_or_else(|| {
        Error::new(
            ErrorKind::Forgotten,
            "it was applied by another version, whose answer cannot be read here",
        )
    })
}

/// Waits until the local copy is as fresh as asked for.
pub(crate) async fn barrier(
    node: &dyn Propose,
    consistency: Consistency,
    deadline: Instant,
) -> Result<(), Error> {
    match timeout_at(deadline + GRACE, node.barrier(consistency, deadline)).await {
        Ok(result) => result,
        Err(_) => Err(Error::no_quorum()),
    }
}
