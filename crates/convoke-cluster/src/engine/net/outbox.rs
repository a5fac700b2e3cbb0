use std::io;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Frames that may wait to be written. Whoever has one more waits.
pub(crate) const OUTBOX_FRAMES_MAX: usize = 64;
/// How much of what waits is written at once.
const BATCH_BYTES: usize = 128 * 1024;

/// A queue of frames for [`write`].
pub(crate) fn outbox() -> (mpsc::Sender<Bytes>, mpsc::Receiver<Bytes>) {
    mpsc::channel(OUTBOX_FRAMES_MAX)
}

/// Writes what is queued until nobody can queue any more, or the peer takes nothing for `stall`.
pub(crate) async fn write<W>(mut to: W, mut queue: mpsc::Receiver<Bytes>, stall: Duration) -> io::Result<()>
where
    W: AsyncWrite + Unpin,
{
    let mut batch = Vec::new();
    while let Some(first) = queue.recv().await {
        // Small frames travel together: one packet, one wake-up.
        batch.clear();
        let mut next = Some(first);
        while let Some(frame) = next.take() {
            if frame.len() >= BATCH_BYTES {
                put(&mut to, &batch, stall).await?;
                batch.clear();
                put(&mut to, &frame, stall).await?;
            } else {
                batch.extend_from_slice(&frame);
            }
            if batch.len() < BATCH_BYTES {
                next = queue.try_recv().ok();
            }
        }
        put(&mut to, &batch, stall).await?;
        timeout(stall, to.flush()).await.map_err(|_| stalled())??;
    }
    timeout(stall, to.shutdown()).await.map_err(|_| stalled())?
}

/// Writes all of it. Each piece that is taken gives the peer new time.
async fn put<W: AsyncWrite + Unpin>(to: &mut W, mut bytes: &[u8], stall: Duration) -> io::Result<()> {
    while !bytes.is_empty() {
        let taken = timeout(stall, to.write(bytes)).await.map_err(|_| stalled())??;
        if taken == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = &bytes[taken..];
    }
    Ok(())
}

fn stalled() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the peer takes nothing")
}
