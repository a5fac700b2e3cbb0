use std::fmt::Display;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use convoke_core::BoxFuture;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use openraft::Raft;
use openraft::alias::{SnapshotMetaOf, SnapshotOf, VoteOf};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::storage::RaftStateMachine;
use tokio::time::Instant;

use super::service::{Receive, Service};
use crate::engine::calls::{Answer, Ask, Reply};
use crate::engine::snapshot::{Receiving, SnapshotFile, Snapshots};
use crate::engine::types::Types;

/// openraft behind a listener, and the node for what clients want.
pub(crate) struct Served<SM: RaftStateMachine<Types>> {
    pub(crate) raft: Raft<Types, SM>,
    /// Where snapshots that arrive are stored.
    pub(crate) snapshots: Snapshots,
    pub(crate) answers: Arc<dyn Answer>,
}

fn sentence(error: impl Display) -> String {
    error.to_string()
}

impl<SM> Service for Served<SM>
where
    SM: RaftStateMachine<Types, SnapshotData = SnapshotFile>,
{
    fn vote(&self, request: VoteRequest<Types>) -> BoxFuture<'_, Result<VoteResponse<Types>, String>> {
        Box::pin(async { self.raft.vote(request).await.map_err(sentence) })
    }

    fn pre_vote(&self, request: VoteRequest<Types>) -> BoxFuture<'_, Result<VoteResponse<Types>, String>> {
        Box::pin(async { self.raft.pre_vote(request).await.map_err(sentence) })
    }

    fn append(
        &self,
        request: AppendEntriesRequest<Types>,
    ) -> BoxFuture<'_, Result<AppendEntriesResponse<Types>, String>> {
        Box::pin(async { self.raft.append_entries(request).await.map_err(sentence) })
    }

    fn append_all(
        &self,
        requests: BoxStream<'static, AppendEntriesRequest<Types>>,
    ) -> BoxStream<'static, Result<StreamAppendResult<Types>, String>> {
        self.raft.stream_append(requests).map(|answer| answer.map_err(sentence)).boxed()
    }

    fn transfer(
        &self,
        request: TransferLeaderRequest<Types>,
    ) -> BoxFuture<'_, Result<TransferLeaderResponse<Types>, String>> {
        Box::pin(async { self.raft.handle_transfer_leader(request).await.map_err(sentence) })
    }

    fn receive(&self) -> BoxFuture<'_, io::Result<Box<dyn Receive>>> {
        Box::pin(async {
            let file = self.snapshots.receive().await?;
            Ok(Box::new(Arriving { file, raft: self.raft.clone() }) as Box<dyn Receive>)
        })
    }

    fn answer(&self, ask: Ask, deadline: Instant) -> BoxFuture<'_, Reply> {
        self.answers.answer(ask, deadline)
    }
}

struct Arriving<SM: RaftStateMachine<Types>> {
    file: Receiving,
    raft: Raft<Types, SM>,
}

impl<SM> Receive for Arriving<SM>
where
    SM: RaftStateMachine<Types, SnapshotData = SnapshotFile>,
{
    fn write(&mut self, piece: Bytes) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(self.file.write(piece))
    }

    fn install(
        self: Box<Self>,
        vote: VoteOf<Types>,
        meta: SnapshotMetaOf<Types>,
    ) -> BoxFuture<'static, Result<SnapshotResponse<Types>, String>> {
        Box::pin(async move {
            let snapshot = self.file.finish().await.map_err(sentence)?;
            if *snapshot.meta() != meta {
                return Err(format!(
                    "the snapshot is another one: it reaches {:?}",
                    snapshot.meta().last_log_id
                ));
            }
            let snapshot = SnapshotOf::<Types, SnapshotFile> { meta, snapshot };
            self.raft.install_full_snapshot(vote, snapshot).await.map_err(sentence)
        })
    }
}
