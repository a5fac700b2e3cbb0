//! A watch whose receivers wake in the order in which they began to wait. Tokio's wakes them in an order of chance,
//! which no seed repeats.

use std::ops::Deref;
use std::sync::{
    Arc, PoisonError, RwLock, RwLockReadGuard,
    atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
};

use openraft_rt::{OptionalSend, OptionalSync, watch as raft_watch};
use tokio::sync::Notify;

mod like_tokio;

/// In place of `tokio::sync::watch`.
pub(crate) mod watch {
    pub(crate) use super::{Receiver, Sender, like_tokio::channel};
}

pub(crate) struct Watch;

struct Shared<T> {
    value: RwLock<T>,
    version: AtomicU64,
    changed: Notify,
    senders: AtomicUsize,
    receivers: AtomicUsize,
}

pub(crate) struct Sender<T>(Arc<Shared<T>>);

pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    seen: u64,
}

/// Nobody will change it any more.
#[derive(Debug)]
pub(crate) struct Closed;

/// A look at the value.
pub(crate) struct Ref<'a, T>(RwLockReadGuard<'a, T>);

impl<T> Deref for Ref<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Shared<T> {
    fn new(value: T) -> Self {
        Self {
            value: RwLock::new(value),
            version: AtomicU64::new(0),
            changed: Notify::new(),
            senders: AtomicUsize::new(1),
            receivers: AtomicUsize::new(0),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, T> {
        self.value.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn modify(&self, modify: impl FnOnce(&mut T) -> bool) -> bool {
        let modified = modify(&mut self.value.write().unwrap_or_else(PoisonError::into_inner));
        if modified {
            self.version.fetch_add(1, SeqCst);
            self.changed.notify_waiters();
        }
        modified
    }

    /// Returns when there is another version than this one, which it then is.
    async fn changed_since(&self, seen: &mut u64) -> Result<(), Closed> {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let version = self.version.load(SeqCst);
            if version != *seen {
                *seen = version;
                return Ok(());
            }
            if self.senders.load(SeqCst) == 0 {
                return Err(Closed);
            }
            changed.await;
        }
    }

    fn receiver(self: &Arc<Self>, seen: u64) -> Receiver<T> {
        self.receivers.fetch_add(1, SeqCst);
        Receiver { shared: Arc::clone(self), seen }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.senders.fetch_add(1, SeqCst);
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if self.0.senders.fetch_sub(1, SeqCst) == 1 {
            self.0.changed.notify_waiters();
        }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.shared.receiver(self.seen)
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.receivers.fetch_sub(1, SeqCst);
    }
}

impl raft_watch::Watch for Watch {
    type Sender<T: OptionalSend + OptionalSync> = Sender<T>;
    type Receiver<T: OptionalSend + OptionalSync> = Receiver<T>;
    type Ref<'a, T: OptionalSend + 'a> = Ref<'a, T>;

    fn channel<T: OptionalSend + OptionalSync>(value: T) -> (Sender<T>, Receiver<T>) {
        let shared = Arc::new(Shared::new(value));
        let receiver = shared.receiver(0);
        (Sender(shared), receiver)
    }
}

impl<T: OptionalSend + OptionalSync> raft_watch::WatchSender<Watch, T> for Sender<T> {
    fn send(&self, value: T) -> Result<(), raft_watch::SendError<T>> {
        if self.0.receivers.load(SeqCst) == 0 {
            return Err(raft_watch::SendError(value));
        }
        self.0.modify(|current| {
            *current = value;
            true
        });
        Ok(())
    }

    fn send_if_modified<F>(&self, modify: F) -> bool
    where
        F: FnOnce(&mut T) -> bool,
    {
        self.0.modify(modify)
    }

    fn borrow_watched(&self) -> Ref<'_, T> {
        Ref(self.0.read())
    }

    fn subscribe(&self) -> Receiver<T> {
        self.0.receiver(self.0.version.load(SeqCst))
    }
}

impl<T: OptionalSend + OptionalSync> raft_watch::WatchReceiver<Watch, T> for Receiver<T> {
    async fn changed(&mut self) -> Result<(), raft_watch::RecvError> {
        self.shared.changed_since(&mut self.seen).await.map_err(|Closed| raft_watch::RecvError(()))
    }

    fn borrow_watched(&self) -> Ref<'_, T> {
        Ref(self.shared.read())
    }

    fn borrow_and_update(&mut self) -> Ref<'_, T> {
        let value = Ref(self.shared.read());
        self.seen = self.shared.version.load(SeqCst);
        value
    }
}
