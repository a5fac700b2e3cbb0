//! One write of a record at a time.
use std::pin::pin;

use tokio::sync::{Mutex, MutexGuard, Notify};

/// Who may write, and the end of each write.
#[derive(Default)]
pub(super) struct Turns {
    version: Mutex<Option<u64>>, // the record's
    ended: Notify,
}

/// The right to write. Its drop lets the next one in, and tells all who wait at once: one after the other would be
/// slower than the store.
pub(super) struct Writing<'a> {
    pub(super) version: MutexGuard<'a, Option<u64>>,
    _ended: Ended<'a>, // dropped last
}

struct Ended<'a>(&'a Notify);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.notify_waiters();
    }
}

impl Turns {
    pub(super) async fn lock(&self) -> Writing<'_> {
        Writing { version: self.version.lock().await, _ended: Ended(&self.ended) }
    }

    /// At once, or `None` at the end of the write that is under way.
    pub(super) async fn lock_or_ended(&self) -> Option<Writing<'_>> {
        if let Some(writing) = self.try_lock() {
            return Some(writing);
        }
        let mut ended = pin!(self.ended.notified());
        ended.as_mut().enable(); // before another look, so that no end is missed
        let writing = self.try_lock();
        if writing.is_none() {
            ended.await;
        }
        writing
    }

    fn try_lock(&self) -> Option<Writing<'_>> {
        let version = self.version.try_lock().ok()?;
        Some(Writing { version, _ended: Ended(&self.ended) })
    }
}
