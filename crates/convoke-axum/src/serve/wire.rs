use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep};

use super::pulse::Pulse;

/// How long a closed connection goes on reading what the peer had already sent.
const LINGER_TIME_MAX: Duration = Duration::from_secs(2);
/// How many bytes of it are read.
const LINGER_BYTES_MAX: usize = 32 * 1024 * 1024;
/// How many reads in a row one connection may do before others get their turn.
const LINGER_READS_MAX: usize = 32;

/// A stream under watch: it reports what arrives, gives up on a peer that takes nothing, and says goodbye
/// in a way that lets the last answer arrive.
///
/// It holds the connection's permit, so that an upgraded connection keeps counting.
#[derive(Debug)]
pub(super) struct Wire<S> {
    stream: S,
    pulse: Arc<Pulse>,
    write_timeout: Duration,
    /// Made when a write first had to wait; counts only while `stalled`.
    stall: Option<Pin<Box<Sleep>>>,
    stalled: bool,
    goodbye: Goodbye,
    _permit: OwnedSemaphorePermit,
}

#[derive(Debug)]
enum Goodbye {
    NotYet,
    Lingering { deadline: Pin<Box<Sleep>>, bytes_left: usize },
    Done,
}

impl<S> Wire<S> {
    pub(super) fn new(
        stream: S,
        pulse: Arc<Pulse>,
        write_timeout: Duration,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            stream,
            pulse,
            write_timeout,
            stall: None,
            stalled: false,
            goodbye: Goodbye::NotYet,
            _permit: permit,
        }
    }

    /// Turns a write that has waited too long into an error.
    fn bounded<T>(&mut self, cx: &mut Context<'_>, write: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if write.is_ready() {
            self.stalled = false;
            return write;
        }
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(self.write_timeout)));
        if !self.stalled {
            stall.as_mut().reset(Instant::now() + self.write_timeout);
            self.stalled = true;
        }
        ready!(stall.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> Wire<S> {
    /// Reads and forgets, until the peer is done, or for long enough.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Goodbye::Lingering { deadline, bytes_left } = &mut self.goodbye else { return Poll::Ready(()) };
        if deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let mut scratch = [0; 8 * 1024];
        for _ in 0..LINGER_READS_MAX {
            let mut buffer = ReadBuf::new(&mut scratch);
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer));
            let count = buffer.filled().len();
            *bytes_left = bytes_left.saturating_sub(count);
            if read.is_err() || count == 0 || *bytes_left == 0 {
                return Poll::Ready(());
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.pulse.bytes_arrived();
        }
        read
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.bounded(cx, write)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.bounded(cx, write)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flush = Pin::new(&mut self.stream).poll_flush(cx);
        if flush.is_ready() {
            // hyper flushes only when it has nothing left to write.
            self.pulse.flushed();
        }
        self.bounded(cx, flush)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if matches!(self.goodbye, Goodbye::NotYet) {
            let shutdown = Pin::new(&mut self.stream).poll_shutdown(cx);
            ready!(self.bounded(cx, shutdown))?;
            self.goodbye = if self.pulse.peer_may_be_sending() {
                Goodbye::Lingering {
                    deadline: Box::pin(sleep(LINGER_TIME_MAX)),
                    bytes_left: LINGER_BYTES_MAX,
                }
            } else {
                Goodbye::Done
            };
        }
        ready!(self.poll_linger(cx));
        self.goodbye = Goodbye::Done;
        Poll::Ready(Ok(()))
    }
}
