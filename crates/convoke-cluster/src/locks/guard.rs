mod hold;

use hold::Hold;
use std::sync::Arc;
use tokio::{task::AbortHandle, time::Instant};

use super::{FencedStore, attempt::Attempt};
use crate::Error;

/// A lock that is held, until this is dropped or its lease ends.
///
/// The lease is renewed in the background. When that fails for as long as the lease lasts, the lock is
/// [`lost`](Self::lost).
#[derive(Debug)]
#[must_use = "the lock is given back when this is dropped"]
pub struct Guard {
    hold: Arc<Hold>,
    renewal: AbortHandle,
}

impl Guard {
    pub(super) fn new(attempt: Attempt, fence: u64, sent: Instant) -> Self {
        let hold = Arc::new(Hold::new(attempt, fence, sent));
        let renewal = hold.runtime().spawn(hold.clone().keep()).abort_handle();
        Self { hold, renewal }
    }

    /// Larger than that of every holder before, and smaller than that of every holder after. Give it to stores that
    /// compare it: they can refuse what comes too late.
    #[must_use]
    pub fn fence(&self) -> u64 {
        self.hold.fence()
    }

    /// The name of the lock.
    #[must_use]
    pub fn name(&self) -> &str {
        self.hold.name()
    }

    /// Whether it is still held, by this process's own clock: it counts from when the last renewal was sent. Asks
    /// nobody.
    ///
    /// Once it is not valid it never is again. A process that is stopped right after asking is protected by nothing
    /// but the [`fence`](Self::fence).
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.hold.is_valid()
    }

    /// Ends when the lock is no longer held, for whatever reason: its lease ended, or it was given back.
    pub fn lost(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        self.hold.lost()
    }

    /// Writes to a store that compares fences.
    ///
    /// # Errors
    /// [`ErrorKind::Lost`](crate::ErrorKind::Lost), without asking the store, when the lock is no longer held; and
    /// what the store says.
    pub async fn fenced_write<S: FencedStore>(
        &self,
        store: &S,
        write: S::Write,
    ) -> Result<S::Written, S::Error> {
        if !self.is_valid() {
            return Err(Error::lost(self.name()).into());
        }
        store.write_fenced(self.name(), self.fence(), write).await
    }

    /// Gives it back, and waits until it is. Dropping the guard does the same in the background.
    ///
    /// # Errors
    /// What the cluster says. The lock is not renewed any more in any case, and its lease ends by itself.
    pub async fn release(self) -> Result<(), Error> {
        self.renewal.abort();
        self.hold.release().await
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.renewal.abort();
        self.hold.abandon();
    }
}
