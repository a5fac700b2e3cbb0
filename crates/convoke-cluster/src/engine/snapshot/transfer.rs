use std::{
    io::{self, Read, Write},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::time::timeout;

use super::{SnapshotFile, Snapshots, Source, draft::Draft};

/// A disk that takes longer for one piece is as good as broken.
const DISK_WAIT_MAX: Duration = Duration::from_secs(30);

/// How many bytes [`Chunks::next`] gives at once.
pub(crate) const CHUNK_BYTES: usize = 256 * 1024;

impl SnapshotFile {
    /// All of it, piece by piece, to be sent to another node.
    pub(crate) fn chunks(self) -> Chunks {
        Chunks { snapshot: Some(self) }
    }
}

/// The pieces of a snapshot.
#[derive(Debug)]
pub(crate) struct Chunks {
    /// Away while it is read. `None` afterwards: at the end, or after an error.
    snapshot: Option<SnapshotFile>,
}

impl Chunks {
    /// The next piece, up to [`CHUNK_BYTES`]. `None`: that was all.
    ///
    /// # Errors
    /// What the disk says.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let Some(mut snapshot) = self.snapshot.take() else { return Ok(None) };
        let chunk = match &mut snapshot.source {
            Source::Memory(bytes) => bytes.split_to(bytes.len().min(CHUNK_BYTES)),
            Source::File { .. } => {
                let read = tokio::task::spawn_blocking(move || read_chunk(snapshot));
                let (chunk, back) = within(async { read.await.map_err(io::Error::other)? }).await?;
                snapshot = back;
                chunk
            }
        };
        if chunk.is_empty() {
            return Ok(None);
        }
        self.snapshot = Some(snapshot);
        Ok(Some(chunk))
    }
}

fn read_chunk(mut snapshot: SnapshotFile) -> io::Result<(Bytes, SnapshotFile)> {
    let mut chunk = BytesMut::zeroed(CHUNK_BYTES);
    let mut filled = 0;
    if let Source::File { file, .. } = &mut snapshot.source {
        while filled < CHUNK_BYTES {
            match file.read(&mut chunk[filled..]) {
                Ok(0) => break,
                Ok(more) => filled += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
    chunk.truncate(filled);
    Ok((chunk.freeze(), snapshot))
}

/// A snapshot that arrives from another node, piece by piece. Dropped before [`finish`](Self::finish), it leaves
/// nothing.
#[derive(Debug)]
pub(crate) struct Receiving {
    snapshots: Snapshots,
    /// Away while it is written. `None` after an error.
    draft: Option<Draft>,
}

impl Snapshots {
    /// Takes a snapshot from another node.
    ///
    /// # Errors
    /// What the disk says.
    pub(crate) async fn receive(&self) -> io::Result<Receiving> {
        let snapshots = self.clone();
        let draft = within(self.off_the_path(move || snapshots.draft())).await?;
        Ok(Receiving { snapshots: self.clone(), draft: Some(draft) })
    }
}

impl Receiving {
    /// Takes the next piece.
    ///
    /// # Errors
    /// What the disk says. There is no going on afterwards.
    pub(crate) async fn write(&mut self, chunk: Bytes) -> io::Result<()> {
        let mut draft = self.draft.take().ok_or_else(over)?;
        let write = self.snapshots.off_the_path(move || draft.write_all(&chunk).map(|()| draft));
        self.draft = Some(within(write).await?);
        Ok(())
    }

    /// All of it is here: checked from the first byte to the last, and on the disk. It is put in force by
    /// `install_snapshot`.
    ///
    /// # Errors
    /// What the disk says, or that it is not whole.
    pub(crate) async fn finish(mut self) -> io::Result<SnapshotFile> {
        let draft = self.draft.take().ok_or_else(over)?;
        let check = move || {
            let source = draft.seal()?;
            let (meta, blocks) = source.reopen()?.blocks()?;
            blocks.finish()?;
            SnapshotFile::new(meta, source)
        };
        self.snapshots.off_the_path(check).await
    }
}

/// One piece, from or to the disk.
async fn within<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(DISK_WAIT_MAX, work).await.map_err(|_| {
        let text = format!("the disk of the snapshots did not answer within {} s", DISK_WAIT_MAX.as_secs());
        io::Error::new(io::ErrorKind::TimedOut, text)
    })?
}

fn over() -> io::Error {
    io::Error::other("an earlier piece of the snapshot could not be written")
}
