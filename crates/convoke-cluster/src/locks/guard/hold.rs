use std::{
    sync::Arc,
    sync::atomic::{AtomicBool, Ordering},
};

use tokio::{
    runtime::Handle,
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use tracing::{debug, warn};

use crate::{
    Error,
    locks::{attempt::Attempt, limits::RENEW_PAUSE, table::Answer},
};

/// What a guard and its renewal share.
#[derive(Debug)]
pub(super) struct Hold {
    attempt: Attempt,
    fence: u64,
    valid_until: watch::Sender<Validity>,
    /// Given back, or about to be.
    is_over: AtomicBool,
}

#[derive(Debug, Clone, Copy)]
enum Validity {
    Until(Instant),
    Lost,
}

impl Hold {
    pub(super) fn new(mut attempt: Attempt, fence: u64, sent: Instant) -> Self {
        // From now on the guard gives it back.
        attempt.is_open = false;
        let valid_until = watch::Sender::new(Validity::Until(sent + attempt.ttl));
        Self { attempt, fence, valid_until, is_over: AtomicBool::new(false) }
    }

    pub(super) fn fence(&self) -> u64 {
        self.fence
    }

    pub(super) fn name(&self) -> &str {
        &self.attempt.name
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.attempt.runtime
    }

    pub(super) fn is_valid(&self) -> bool {
        self.valid_until.borrow().is_now()
    }

    pub(super) fn lost(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let mut validity = self.valid_until.subscribe();
        async move {
            loop {
                let Validity::Until(until) = *validity.borrow_and_update() else { return };
                tokio::select! {
                    biased;
                    // Whoever waits for this may see the end before the renewal does.
                    () = sleep_until(until) => if !validity.borrow().is_now() { return },
                    changed = validity.changed() => if changed.is_err() { return },
                }
            }
        }
    }

    /// Renews at a third of the lease until it is lost.
    pub(super) async fn keep(self: Arc<Self>) {
        let third = self.attempt.ttl / 3;
        let mut next = self.until().map(|until| until - 2 * third);
        while let Some(at) = next {
            sleep_until(at).await;
            next = self.renew().await.map(|sent| sent + third);
        }
        warn!(lock = self.name(), "lock lost: its lease ended before it was renewed");
        self.valid_until.send_replace(Validity::Lost);
        // It may be held in the cluster still, by a renewal that came too late for us.
        self.abandon();
    }

    /// When the renewal that succeeded was sent; `None` when it is lost.
    async fn renew(&self) -> Option<Instant> {
        let Attempt { locks, name, owner, ttl, .. } = &self.attempt;
        loop {
            let until = self.until().filter(|until| Instant::now() < *until)?;
            let sent = Instant::now();
            let answer = locks.renew(name, *owner, self.fence, until.min(sent + *ttl / 3)).await;
            // Once it was over for those who asked, it stays over.
            if Instant::now() >= until {
                return None;
            }
            match answer {
                Ok(Answer::Granted { .. }) => {
                    self.valid_until.send_replace(Validity::Until(sent + *ttl));
                    return Some(sent);
                }
                Ok(_) => return None,
                Err(err) => {
                    debug!(lock = name, %err, "lock not renewed, will try again");
                    sleep(RENEW_PAUSE).await;
                }
            }
        }
    }

    fn until(&self) -> Option<Instant> {
        match *self.valid_until.borrow() {
            Validity::Until(until) => Some(until),
            Validity::Lost => None,
        }
    }

    pub(super) async fn release(&self) -> Result<(), Error> {
        self.valid_until.send_replace(Validity::Lost);
        let result = self.attempt.locks.release(self.name(), self.attempt.owner).await;
        // Only now: when this future is dropped before, the guard's drop tries again.
        self.is_over.store(true, Ordering::Relaxed);
        result
    }

    pub(super) fn abandon(&self) {
        self.valid_until.send_replace(Validity::Lost);
        if !self.is_over.swap(true, Ordering::Relaxed) {
            self.attempt.locks.abandon(self.runtime(), self.name(), self.attempt.owner);
        }
    }
}

impl Validity {
    fn is_now(self) -> bool {
        matches!(self, Self::Until(until) if Instant::now() < until)
    }
}
