//! The listener's end of connections.

mod log;
mod questions;
mod snapshot;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use tokio::io::{AsyncRead, ReadHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::frame::{self, Frame, Frames};
use super::handshake::{self, HandshakeError, Hello};
use super::kind::Kind;
use super::lane::Lane;
use super::outbox;
use super::peers::Peers;
use super::seats::Seats;
use super::service::Service;
use super::wire::BoxWire;

#[cfg(test)]
pub(super) use questions::ANSWERING_MAX;

/// What all connections of a listener share.
#[derive(Clone)]
pub(crate) struct Server {
    peers: Arc<Peers>,
    service: Arc<dyn Service>,
    seats: Arc<Seats>,
}

impl Server {
    /// For connections that others made to us. At most `connections_max` members' connections are open at once.
    pub(crate) fn new(peers: Arc<Peers>, service: Arc<dyn Service>, connections_max: usize) -> Self {
        Self { peers, service, seats: Arc::new(Seats::new(connections_max)) }
    }

    /// Serves one connection to its end, which is when this returns. `whence` is for the log.
    pub(crate) async fn serve(&self, wire: BoxWire, whence: &str) {
        match self.converse(wire).await {
            Ok(()) => {}
            Err(Ended::Handshake(error @ HandshakeError::Io(_))) => {
                // Port scans and health checks of load balancers look like this.
                tracing::debug!(from = whence, %error, "a connection ended before its handshake");
            }
            Err(Ended::Handshake(error)) => {
                tracing::warn!(from = whence, reason = %error, "a connection was refused");
            }
            Err(Ended::Connection(hello, error)) => {
                let Hello { from, lane, .. } = hello;
                tracing::debug!(from = whence, peer = ?from, ?lane, %error, "a member's connection ended");
            }
        }
    }

    async fn converse(&self, wire: BoxWire) -> Result<(), Ended> {
        let caller = self.peers.caller();
        let (read, mut write) = tokio::io::split(wire);
        let mut frames = Frames::new(read);
        let accepted = handshake::accept(&mut frames, &mut write, &caller.us, self.seats.are_taken());
        let hello = timeout(caller.timing.handshake, accepted)
            .await
            .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no handshake in time").into()))
            .map_err(Ended::Handshake)?;
        let seat = self.seats.take(&hello);
        if let Some(id) = hello.from {
            self.peers.heard(id);
        }
        tracing::debug!(peer = ?hello.from, lane = ?hello.lane, "a member called");
        let (queue, queued) = outbox::outbox();
        let conversation = Conversation {
            frames,
            replies: Replies { queue },
            idle: caller.timing.idle,
            service: Arc::clone(&self.service),
        };
        let talk = async {
            match hello.lane {
                Lane::Log => log::serve(conversation).await,
                Lane::Snapshot => snapshot::serve(conversation).await,
                Lane::Control | Lane::Calls => questions::serve(conversation, &hello).await,
            }
        };
        let ended = tokio::select! {
            biased;
            ended = async { tokio::try_join!(talk, outbox::write(write, queued, caller.timing.stall)) } => ended.map(|_| ()),
            () = seat.lost() => Err(io::Error::other("the same member called again")),
        };
        ended.map_err(|error| Ended::Connection(hello, error))
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("seats", &self.seats).finish_non_exhaustive()
    }
}

enum Ended {
    Handshake(HandshakeError),
    Connection(Hello, io::Error),
}

/// One welcomed connection.
struct Conversation {
    frames: Frames<ReadHalf<BoxWire>>,
    replies: Replies,
    idle: Duration,
    service: Arc<dyn Service>,
}

/// The way back to the caller.
#[derive(Clone)]
struct Replies {
    queue: mpsc::Sender<Bytes>,
}

impl Replies {
    async fn send<T: Serialize>(&self, kind: Kind, ticket: u64, message: &T) -> io::Result<()> {
        let bytes = frame::encode(kind, &(ticket, message))?;
        self.queue.send(bytes).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// The answer, or the sentence that says why there is none.
    async fn finish<T: Serialize>(
        &self,
        kind: Kind,
        ticket: u64,
        answer: Result<T, String>,
    ) -> io::Result<()> {
        match answer {
            Ok(answer) => self.send(kind, ticket, &answer).await,
            Err(why) => self.send(Kind::Failed, ticket, &shortened(why)).await,
        }
    }
}

/// A sentence that fits into its frame, whatever is in it.
fn shortened(mut why: String) -> String {
    const WHY_BYTES_MAX: usize = 4 * 1024;
    if why.len() > WHY_BYTES_MAX {
        let end = (0..=WHY_BYTES_MAX).rev().find(|&at| why.is_char_boundary(at)).unwrap_or(0);
        why.truncate(end);
    }
    why
}

/// The next frame of this lane and its ticket; `None` when the caller hung up or has nothing more to ask.
async fn next<R: AsyncRead + Unpin>(
    frames: &mut Frames<R>,
    lane: Lane,
    deadline: Instant,
) -> io::Result<Option<(u64, Frame)>> {
    match timeout_at(deadline, frames.next(lane.asks())).await {
        Ok(Ok(Some(frame))) => Ok(Some(frame.ticket()?)),
        Ok(Ok(None)) => Ok(None),
        Ok(Err(error)) => Err(error),
        Err(_) => {
            tracing::debug!(?lane, "a member asked nothing for a while, hanging up");
            Ok(None)
        }
    }
}
