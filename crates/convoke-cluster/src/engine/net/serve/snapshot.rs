use std::io;

use tokio::time::Instant;

use super::Conversation;
use crate::engine::net::frame::Frame;
use crate::engine::net::kind::Kind;
use crate::engine::net::lane::Lane;
use crate::engine::net::service::{Receive, Service};
use crate::engine::net::snapshot::{Begin, Chunk};

/// Snapshots, one after the other. Whoever begins a new one has given up the one before.
pub(super) async fn serve(mut conversation: Conversation) -> io::Result<()> {
    let mut arriving: Option<Arriving> = None;
    loop {
        let idle_at = Instant::now() + conversation.idle;
        let Some((ticket, frame)) = super::next(&mut conversation.frames, Lane::Snapshot, idle_at).await?
        else {
            return Ok(());
        };
        if frame.kind == Kind::SnapshotBegin {
            drop(arriving.take());
            let (begun, answer) = begin(&*conversation.service, ticket, &frame).await;
            arriving = begun;
            conversation.replies.finish(Kind::Answer, ticket, answer).await?;
            continue;
        }
        // What still comes for a transfer that failed was sent before its sender knew.
        let Some(transfer) = arriving.take_if(|transfer| transfer.ticket == ticket) else { continue };
        if frame.kind == Kind::SnapshotEnd {
            let installed = transfer.end(&frame).await;
            conversation.replies.finish(Kind::Answer, ticket, installed).await?;
            continue;
        }
        match transfer.chunk(&frame).await {
            Ok(transfer) => {
                conversation.replies.send(Kind::Answer, ticket, &transfer.stored).await?;
                arriving = Some(transfer);
            }
            Err(error) => {
                conversation.replies.finish::<u64>(Kind::Answer, ticket, Err(error.to_string())).await?
            }
        }
    }
}

/// A snapshot that is not complete. Dropped, it leaves nothing.
struct Arriving {
    ticket: u64,
    begin: Begin,
    stored: u64,
    to: Box<dyn Receive>,
}

async fn begin(service: &dyn Service, ticket: u64, frame: &Frame) -> (Option<Arriving>, Result<u64, String>) {
    let begun = async {
        let begin: Begin = frame.read()?;
        let to = service.receive().await?;
        Ok::<_, io::Error>(Arriving { ticket, begin, stored: 0, to })
    };
    match begun.await {
        Ok(arriving) => {
            let Begin { bytes, meta, .. } = &arriving.begin;
            tracing::info!(bytes, last = ?meta.last_log_id, "receiving a snapshot");
            (Some(arriving), Ok(0))
        }
        Err(error) => (None, Err(error.to_string())),
    }
}

impl Arriving {
    async fn chunk(mut self, frame: &Frame) -> io::Result<Self> {
        let Chunk { offset, data } = frame.read()?;
        let end = offset.saturating_add(data.len() as u64);
        if offset != self.stored || end > self.begin.bytes {
            let Begin { bytes, .. } = self.begin;
            let why = format!("bytes {offset} to {end} of {bytes} came where {} should", self.stored);
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        self.to.write(data).await?;
        self.stored = end;
        Ok(self)
    }

    async fn end(
        self,
        frame: &Frame,
    ) -> Result<openraft::raft::SnapshotResponse<crate::engine::types::Types>, String> {
        let bytes: u64 = frame.read().map_err(|error| error.to_string())?;
        if bytes != self.begin.bytes || bytes != self.stored {
            let announced = self.begin.bytes;
            return Err(format!("{} of {announced} bytes came, {bytes} were meant", self.stored));
        }
        self.to.install(self.begin.vote, self.begin.meta).await
    }
}
