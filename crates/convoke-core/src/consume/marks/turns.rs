//! One write of a record at a time.
use tokio::sync::{Mutex, MutexGuard, Notify, futures::Notified};

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

    /// `None` while somebody writes.
    pub(super) fn try_lock(&self) -> Option<Writing<'_>> {
        let version = self.version.try_lock().ok()?;
        Some(Writing { version, _ended: Ended(&self.ended) })
    }

    /// The end of the write that is under way.
    pub(super) fn ended(&self) -> Notified<'_> {
        self.ended.notified()
    }
}
