use std::{
    fmt::Debug,
    io,
    ops::Bound::{Excluded, Included, Unbounded},
    ops::RangeBounds,
};

use futures_util::{Stream, TryStreamExt, stream};
use openraft::{OptionalSend, RaftLogReader};
use tokio::time::timeout;

use super::{
    Entry, Log, Vote,
    index::{Found, Place},
    queue::{DISK_WAIT_MAX, stuck},
};
use crate::engine::types::Types;

/// So much of the log is read at once: for another node, or to be applied. One entry more, when that is larger.
const READ_BYTES_MAX: usize = 1024 * 1024;

impl RaftLogReader<Types> for Log {
    async fn try_get_log_entries<R>(&mut self, range: R) -> io::Result<Vec<Entry>>
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (from, to) = bounds(&range);
        self.read(from, to, usize::MAX).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(start, end, READ_BYTES_MAX).await
    }

    async fn entries_stream<R>(&mut self, range: R) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (from, to) = bounds(&range);
        let pieces = stream::try_unfold((self.clone(), from), move |(log, from)| async move {
            let entries = log.read(from, to, READ_BYTES_MAX).await?;
            let Some(last) = entries.last() else { return Ok::<_, io::Error>(None) };
            let next = last.log_id.index + 1;
            Ok(Some((stream::iter(entries.into_iter().map(Ok)), (log, next))))
        });
        pieces.try_flatten()
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.index().vote)
    }
}

impl Log {
    /// The entries from one index to before another that are there, as many as fit.
    async fn read(&self, from: u64, to: u64, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let found = self.index().entries(from, to, bytes_max);
        if found.iter().all(|found| matches!(found, Found::Here(_))) {
            return found.into_iter().map(Found::entry).collect();
        }
        let read = move || found.into_iter().map(Found::entry).collect();
        let read = timeout(DISK_WAIT_MAX, tokio::task::spawn_blocking(read));
        read.await.map_err(|_| stuck())?.map_err(io::Error::other)?
    }
}

impl Found {
    /// Blocks when it is on disk only. A file that was removed meanwhile is still open.
    fn entry(self) -> io::Result<Entry> {
        match self {
            Self::Here(entry) => Ok(entry),
            Self::There(Place { reader, offset, bytes }) => reader.entry(offset, bytes),
        }
    }
}

/// The first index, and the one behind the last.
fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let from = match range.start_bound() {
        Included(&from) => from,
        Excluded(&before) => before.saturating_add(1),
        Unbounded => 0,
    };
    let to = match range.end_bound() {
        Included(&last) => last.saturating_add(1),
        Excluded(&to) => to,
        Unbounded => u64::MAX,
    };
    (from, to)
}
