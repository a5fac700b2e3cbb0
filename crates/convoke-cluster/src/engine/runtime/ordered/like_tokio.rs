//! What Tokio's own watch has, as far as it is used here.

use std::{fmt, sync::Arc};

use super::{Closed, Receiver, Ref, Sender, SeqCst, Shared};

pub(crate) fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let sender = Sender::new(value);
    let receiver = sender.subscribe();
    (sender, receiver)
}

impl<T> Sender<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Arc::new(Shared::new(value)))
    }

    pub(crate) fn subscribe(&self) -> Receiver<T> {
        self.0.receiver(self.0.version.load(SeqCst))
    }

    pub(crate) fn borrow(&self) -> Ref<'_, T> {
        Ref(self.0.read())
    }

    pub(crate) fn send_replace(&self, value: T) -> T {
        let mut old = value;
        self.send_modify(|current| std::mem::swap(current, &mut old));
        old
    }

    pub(crate) fn send_modify(&self, modify: impl FnOnce(&mut T)) {
        self.send_if_modified(|value| {
            modify(value);
            true
        });
    }

    pub(crate) fn send_if_modified(&self, modify: impl FnOnce(&mut T) -> bool) -> bool {
        self.0.modify(modify)
    }
}

impl<T> Receiver<T> {
    pub(crate) fn borrow(&self) -> Ref<'_, T> {
        Ref(self.shared.read())
    }

    pub(crate) fn mark_unchanged(&mut self) {
        self.seen = self.shared.version.load(SeqCst);
    }

    pub(crate) async fn changed(&mut self) -> Result<(), Closed> {
        self.shared.changed_since(&mut self.seen).await
    }

    pub(crate) async fn wait_for(&mut self, mut holds: impl FnMut(&T) -> bool) -> Result<Ref<'_, T>, Closed> {
        loop {
            self.seen = self.shared.version.load(SeqCst);
            {
                let value = self.shared.read();
                if holds(&value) {
                    return Ok(Ref(value));
                }
            }
            self.shared.changed_since(&mut self.seen).await?;
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sender").field(&*self.borrow()).finish()
    }
}

impl<T: fmt::Debug> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Receiver").field(&*self.borrow()).finish()
    }
}
