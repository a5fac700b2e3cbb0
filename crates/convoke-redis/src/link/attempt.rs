use std::sync::Arc;

use tokio::time::Instant;

use super::{Line, Link};

/// One attempt. When it is dropped without an answer, by a timeout here or by a caller who gave up, that counts.
pub(super) struct Attempt<'a> {
    link: &'a Link,
    line: &'a Arc<Line>,
    began: Instant,
    open: bool,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(link: &'a Link, line: &'a Arc<Line>) -> Self {
        Self { link, line, began: Instant::now(), open: true }
    }

    /// The server is there, whatever it said.
    pub(super) fn answered(mut self) {
        self.open = false;
        self.line.watchdog().answered();
    }

    /// The connection is known to be broken, and reconnects by itself.
    pub(super) fn broken(mut self) {
        self.open = false;
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        // A caller with little patience says little about the server.
        if self.open && self.began.elapsed() >= self.link.attempt_timeout / 2 {
            self.link.unanswered(self.line, self.began);
        }
    }
}
