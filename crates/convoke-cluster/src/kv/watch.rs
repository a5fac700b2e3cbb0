mod start;

use std::{collections::VecDeque, fmt};

use bytes::Bytes;
use futures_util::{Stream, stream};
pub use start::StartWatch;

use super::{
    Change, Machine,
    machine::{Lag, Remaining},
};
use crate::engine::runtime::watch;
use crate::replicated::Shared;

/// Changes that are read at once. What a watch holds is never more.
const BATCH_MAX: usize = 256;

/// Every change of the keys with a prefix, in the order of the log.
///
/// The node keeps its latest changes for all who watch ([`CHANGES_MAX`](super::CHANGES_MAX)). Who is slower than that
/// is told [`Lagged`] and goes on with what is still there.
pub struct Watch {
    state: Shared<Machine>,
    applied: watch::Receiver<u64>,
    prefix: Bytes,
    /// What was there at the beginning and was not told yet.
    remaining: Option<Remaining>,
    buffer: VecDeque<Change>,
    place: u64,
    /// Everything up to here in the log is in the buffer, or was told.
    seen: u64,
    lagged: Option<Lagged>,
}

/// Changes are missing: the watch was slower than the node could wait for.
///
/// To know the current state, begin anew with [`StartWatch::with_state`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lagged {
    /// Every change up to here in the log was told.
    pub after: u64,
    /// Every change behind this place in the log will be told. Of those between, some are missing.
    pub until: u64,
}

impl Watch {
    /// The next change. `None` when the node has stopped. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// [`Lagged`], once for each time it lags; then it goes on.
    pub async fn next(&mut self) -> Option<Result<Change, Lagged>> {
        loop {
            if let Some(change) = self.remaining.as_mut().and_then(Iterator::next) {
                return Some(Ok(change));
            }
            self.remaining = None;
            if let Some(lagged) = self.lagged.take() {
                return Some(Err(lagged));
            }
            if let Some(change) = self.buffer.pop_front() {
                return Some(Ok(change));
            }
            // Before the look: what is applied after it wakes us again.
            self.applied.mark_unchanged();
            if !self.pull()? && self.applied.changed().await.is_err() {
                return None;
            }
        }
    }

    /// The same as a stream.
    pub fn stream(self) -> impl Stream<Item = Result<Change, Lagged>> + Send + Unpin {
        Box::pin(stream::unfold(self, async |mut watch| watch.next().await.map(|item| (item, watch))))
    }

    /// Whether there is something to tell now. `None` when the state is broken.
    fn pull(&mut self) -> Option<bool> {
        let system = self.state.read().ok()?;
        let machine = system.machine();
        match machine.changes().since(self.place, &self.prefix, BATCH_MAX) {
            Ok((changes, next)) => {
                self.place = next;
                self.seen = match changes.last() {
                    Some(last) if next < machine.changes().end() => last.index(),
                    _ => machine.index(),
                };
                self.buffer = changes.into();
                Some(!self.buffer.is_empty())
            }
            Err(Lag { until, place }) => {
                self.lagged = Some(Lagged { after: self.seen, until });
                (self.place, self.seen) = (place, until);
                Some(true)
            }
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("prefix", &self.prefix)
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Lagged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the watch lagged: changes between {} and {} of the log are missing",
            self.after, self.until
        )
    }
}

impl std::error::Error for Lagged {}
