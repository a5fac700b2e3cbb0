use std::collections::VecDeque;
use std::io;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use openraft::StorageError;
use openraft::alias::{ErrorSourceOf, SnapshotMetaOf, SnapshotOf, VoteOf};
use openraft::errors::{ErrorSource, StreamingError, Unreachable};
use openraft::raft::SnapshotResponse;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout};

use super::dial::Dial;
use super::kind::{CHUNK_BYTES_MAX, Kind};
use super::link::{LinkError, Session};
use super::timing::Timing;
use crate::engine::snapshot::SnapshotFile;
use crate::engine::types::Types;

/// Chunks of a snapshot that are not acknowledged yet: what a transfer holds in memory, whatever the snapshot's size.
pub(crate) const CHUNKS_IN_FLIGHT_MAX: usize = 4;

/// A snapshot as it is sent: piece by piece.
pub(crate) trait Parcel: Send + 'static {
    /// How long it is.
    fn bytes(&self) -> u64;

    /// All of it, in pieces of any size.
    fn pieces(self) -> BoxStream<'static, io::Result<Bytes>>;
}

impl Parcel for SnapshotFile {
    fn bytes(&self) -> u64 {
        SnapshotFile::bytes(self)
    }

    fn pieces(self) -> BoxStream<'static, io::Result<Bytes>> {
        stream::try_unfold(self.chunks(), async |mut chunks| {
            Ok(chunks.next().await?.map(|chunk| (chunk, chunks)))
        })
        .boxed()
    }
}

/// What stands before a snapshot.
#[derive(Serialize, Deserialize)]
pub(super) struct Begin {
    pub(super) vote: VoteOf<Types>,
    pub(super) meta: SnapshotMetaOf<Types>,
    pub(super) bytes: u64,
}

/// A part of a snapshot, and its place. Answered with the number of bytes that were stored by then.
#[derive(Serialize, Deserialize)]
pub(super) struct Chunk {
    pub(super) offset: u64,
    pub(super) data: Bytes,
}

/// Why a transfer ended early.
enum Cut {
    /// Our own copy cannot be read.
    Source(io::Error),
    Peer(String),
}

impl From<LinkError> for Cut {
    fn from(error: LinkError) -> Self {
        Self::Peer(error.to_string())
    }
}

/// Sends a snapshot, and waits until it is installed. What was sent when it is cut is forgotten by the peer, and the
/// next try starts from the beginning.
pub(super) async fn send<P: Parcel>(
    dial: &Dial,
    timing: Timing,
    vote: VoteOf<Types>,
    snapshot: SnapshotOf<Types, P>,
) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
    let signature = snapshot.meta.signature();
    let unreachable = |why: String| StreamingError::Unreachable(Unreachable::from_string(why));
    let link = timeout(timing.connect + timing.handshake, dial.link()).await;
    let link = link
        .map_err(|_| unreachable("no connection in time".to_owned()))?
        .map_err(|away| unreachable(away.to_string()))?;
    let session = link.open(CHUNKS_IN_FLIGHT_MAX).map_err(|error| unreachable(error.to_string()))?;
    let mut transfer = Transfer { session, timing, offset: 0, in_flight: VecDeque::new(), done: false };
    transfer.run(vote, snapshot).await.map_err(|cut| match cut {
        Cut::Source(error) => {
            let source = ErrorSourceOf::<Types>::from_error(&error);
            StreamingError::StorageError(StorageError::read_snapshot(Some(signature), source))
        }
        Cut::Peer(why) => unreachable(why),
    })
}

struct Transfer {
    session: Session,
    timing: Timing,
    offset: u64,
    /// Where each chunk ends that is not acknowledged.
    in_flight: VecDeque<u64>,
    done: bool,
}

impl Drop for Transfer {
    fn drop(&mut self) {
        if !self.done {
            // What the peer has stored so far goes with the connection, and not when somebody needs the next one.
            self.session.cut("a snapshot was given up");
        }
    }
}

impl Transfer {
    async fn run<P: Parcel>(
        &mut self,
        vote: VoteOf<Types>,
        snapshot: SnapshotOf<Types, P>,
    ) -> Result<SnapshotResponse<Types>, Cut> {
        let bytes = snapshot.snapshot.bytes();
        let (started, last) = (Instant::now(), snapshot.meta.last_log_id);
        tracing::info!(bytes, ?last, "sending a snapshot");
        self.session.send(Kind::SnapshotBegin, &Begin { vote, meta: snapshot.meta, bytes }).await?;
        self.answer::<u64>(self.timing.answer).await?;
        let mut pieces = snapshot.snapshot.pieces();
        while let Some(piece) = pieces.next().await {
            let mut piece = piece.map_err(Cut::Source)?;
            while !piece.is_empty() {
                let data = piece.split_to(piece.len().min(CHUNK_BYTES_MAX));
                self.chunk(data).await?;
            }
        }
        while !self.in_flight.is_empty() {
            self.acknowledged().await?;
        }
        if self.offset != bytes {
            let why = format!("a snapshot of {bytes} bytes came to {}", self.offset);
            return Err(Cut::Source(io::Error::other(why)));
        }
        self.session.send(Kind::SnapshotEnd, &bytes).await?;
        let installed = self.answer(self.timing.install).await?;
        self.done = true;
        tracing::info!(bytes, ?last, took = ?started.elapsed(), "a snapshot was installed by its receiver");
        Ok(installed)
    }

    async fn chunk(&mut self, data: Bytes) -> Result<(), Cut> {
        if self.in_flight.len() == CHUNKS_IN_FLIGHT_MAX {
            self.acknowledged().await?;
        }
        let chunk = Chunk { offset: self.offset, data };
        self.offset += chunk.data.len() as u64;
        self.in_flight.push_back(self.offset);
        Ok(self.session.send(Kind::SnapshotChunk, &chunk).await?)
    }

    async fn acknowledged(&mut self) -> Result<(), Cut> {
        let stored: u64 = self.answer(self.timing.stall).await?;
        match self.in_flight.pop_front() {
            Some(expected) if expected == stored => Ok(()),
            expected => {
                Err(Cut::Peer(format!("the peer stored {stored} bytes where {expected:?} were sent")))
            }
        }
    }

    async fn answer<A: serde::de::DeserializeOwned>(
        &mut self,
        within: std::time::Duration,
    ) -> Result<A, Cut> {
        let Ok(answer) = timeout(within, self.session.answer()).await else {
            let why = format!("the peer said nothing about a snapshot for {within:?}");
            self.session.cut(&why);
            return Err(Cut::Peer(why));
        };
        Ok(answer?.read().map_err(LinkError::from)?)
    }
}
