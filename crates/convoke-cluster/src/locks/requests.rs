use std::{
    fmt,
    sync::{Arc, RwLock},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};
use tracing::debug;
use uuid::Uuid;

use super::{
    Lock,
    limits::{LOCKS_MAX, NAME_BYTES_MAX, RELEASE_TIMEOUT, TTL_MAX, TTL_MIN, WAITERS_MAX},
    table::{Answer, Command, Refusal, Standing},
};
use crate::engine::runtime::watch;
use crate::{
    Error, ErrorKind, StateMachine, ask, coding,
    engine::types::Op,
    propose::Propose,
    replicated::{Shared, System},
};

/// Asks the cluster for locks. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Locks {
    node: Arc<dyn Propose>,
    view: Arc<dyn View>,
}

/// This node's copy of the locks.
trait View: Send + Sync {
    fn standing(&self, name: &str, owner: Uuid) -> Standing;
}

impl<M: StateMachine> View for RwLock<System<M>> {
    fn standing(&self, name: &str, owner: Uuid) -> Standing {
        self.read().map_or(Standing::Absent, |system| system.locks().standing(name, owner))
    }
}

impl Locks {
    pub(crate) fn new<M: StateMachine>(node: Arc<dyn Propose>, state: Shared<M>) -> Self {
        Self { node, view: state }
    }

    pub(crate) fn lock(&self, name: impl Into<String>) -> Lock {
        Lock::new(self.clone(), name.into())
    }

    pub(super) async fn acquire(
        &self,
        name: &str,
        owner: Uuid,
        ttl: Duration,
        wait: bool,
        deadline: Instant,
    ) -> Result<Answer, Error> {
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        self.propose(Command::Acquire { name: name.to_owned(), owner, ttl_ms, wait }, deadline).await
    }

    pub(super) async fn renew(
        &self,
        name: &str,
        owner: Uuid,
        fence: u64,
        deadline: Instant,
    ) -> Result<Answer, Error> {
        self.propose(Command::Renew { name: name.to_owned(), owner, fence }, deadline).await
    }

    pub(super) async fn release(&self, name: &str, owner: Uuid) -> Result<(), Error> {
        let command = Command::Release { name: name.to_owned(), owner };
        self.propose(command, Instant::now() + RELEASE_TIMEOUT).await.map(drop)
    }

    /// Gives back in the background what is no longer wanted. Tried for a bounded time: then the lease ends.
    pub(super) fn abandon(&self, runtime: &tokio::runtime::Handle, name: &str, owner: Uuid) {
        let (locks, name) = (self.clone(), name.to_owned());
        runtime.spawn(async move {
            if let Err(err) = locks.release(&name, owner).await {
                debug!(lock = name, %err, "lock not given back, its lease will end");
            }
        });
    }

    /// Until this node's copy says that the owner holds the lock, or until then.
    pub(super) async fn held_here(&self, name: &str, owner: Uuid, until: Instant) {
        let mut applied: watch::Receiver<u64> = self.node.applied();
        loop {
            // Before the look: what is applied after it wakes us again.
            applied.mark_unchanged();
            if self.view.standing(name, owner) == Standing::Holds {
                return;
            }
            tokio::select! {
                biased;
                () = sleep_until(until) => return,
                changed = applied.changed() => if changed.is_err() { return },
            }
        }
    }

    async fn propose(&self, command: Command, deadline: Instant) -> Result<Answer, Error> {
        match ask::propose(&*self.node, Op::Lock(coding::encode(&command)), deadline).await? {
            Answer::Refused(refusal) => Err(refused(refusal)),
            answer => Ok(answer),
        }
    }
}

/// The sentence for a refusal.
pub(super) fn refused(refusal: Refusal) -> Error {
    let overloaded = |message: String| Error::new(ErrorKind::Overloaded, message);
    match refusal {
        Refusal::Unreadable => {
            Error::refused("the cluster cannot read this command: its nodes are of other versions")
        }
        Refusal::Name => Error::refused(format!("the name of a lock has from 1 to {NAME_BYTES_MAX} bytes")),
        Refusal::Ttl => Error::refused(format!("the lease of a lock lasts from {TTL_MIN:?} to {TTL_MAX:?}")),
        Refusal::TooManyWaiters => overloaded(format!("{WAITERS_MAX} wait for this lock already")),
        Refusal::TooManyLocks => overloaded(format!("{LOCKS_MAX} locks are held already")),
    }
}

impl fmt::Debug for Locks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Locks").finish_non_exhaustive()
    }
}
