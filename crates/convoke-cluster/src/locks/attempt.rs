use std::time::Duration;

use tokio::{runtime::Handle, time::Instant};
use uuid::Uuid;

use super::{Guard, Locks, table::Answer};
use crate::Error;

/// One attempt to hold a lock. What it has got is given back when it is dropped before it succeeded.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) locks: Locks,
    pub(super) name: String,
    pub(super) ttl: Duration,
    pub(super) owner: Uuid,
    pub(super) runtime: Handle,
    /// Something may be in the cluster that must be taken back.
    pub(super) is_open: bool,
}

impl Attempt {
    pub(super) fn new(locks: Locks, name: String, ttl: Duration) -> Self {
        Self { locks, name, ttl, owner: Uuid::now_v7(), runtime: Handle::current(), is_open: false }
    }

    pub(super) async fn acquire(mut self, deadline: Instant) -> Result<Guard, Error> {
        loop {
            let sent = Instant::now();
            match self.ask(true, deadline).await? {
                // Counted from the question: an answer that took longer than the lease is worth nothing.
                Answer::Granted { fence } if sent.elapsed() < self.ttl => {
                    return Ok(Guard::new(self, fence, sent));
                }
                Answer::Queued { .. } => self.wait(sent, deadline).await,
                _ => {}
            }
            if Instant::now() >= deadline {
                return Err(Error::held(&self.name));
            }
        }
    }

    pub(super) async fn try_acquire(mut self, deadline: Instant) -> Result<Option<Guard>, Error> {
        let sent = Instant::now();
        match self.ask(false, deadline).await? {
            Answer::Granted { fence } if sent.elapsed() < self.ttl => Ok(Some(Guard::new(self, fence, sent))),
            Answer::Held => {
                self.is_open = false;
                Ok(None)
            }
            _ => Err(Error::lost(&self.name)),
        }
    }

    /// Our place in the queue is a lease, too: it is renewed at a third. We ask again at once when this node sees that
    /// it is our turn, and so count our lease from a question that was certainly sent before the answer.
    async fn wait(&self, sent: Instant, deadline: Instant) {
        let renewal = (sent + self.ttl / 3).min(deadline);
        self.locks.held_here(&self.name, self.owner, renewal).await;
    }

    async fn ask(&mut self, wait: bool, deadline: Instant) -> Result<Answer, Error> {
        self.is_open = true;
        self.locks.acquire(&self.name, self.owner, self.ttl, wait, deadline).await
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.is_open {
            self.locks.abandon(&self.runtime, &self.name, self.owner);
        }
    }
}
