use std::io;

use bytes::Bytes;
use convoke_core::BoxFuture;
use futures_util::stream::BoxStream;
use openraft::alias::{SnapshotMetaOf, VoteOf};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use tokio::time::Instant;

use crate::engine::calls::{Ask, Reply};
use crate::engine::types::Types;

/// What stands behind a listener. An error is a sentence for the caller; it means that this node cannot go on.
pub(crate) trait Service: Send + Sync + 'static {
    /// A candidate wants our vote.
    fn vote(&self, request: VoteRequest<Types>) -> BoxFuture<'_, Result<VoteResponse<Types>, String>>;

    /// A candidate wants to know whether it would get our vote.
    fn pre_vote(&self, request: VoteRequest<Types>) -> BoxFuture<'_, Result<VoteResponse<Types>, String>>;

    /// The leader is there, and perhaps has entries.
    fn append(
        &self,
        request: AppendEntriesRequest<Types>,
    ) -> BoxFuture<'_, Result<AppendEntriesResponse<Types>, String>>;

    /// The leader has entries, many of them. Answered in order.
    fn append_all(
        &self,
        requests: BoxStream<'static, AppendEntriesRequest<Types>>,
    ) -> BoxStream<'static, Result<StreamAppendResult<Types>, String>>;

    /// The leader wants another one to lead.
    fn transfer(
        &self,
        request: TransferLeaderRequest<Types>,
    ) -> BoxFuture<'_, Result<TransferLeaderResponse<Types>, String>>;

    /// The leader has a snapshot for us.
    fn receive(&self) -> BoxFuture<'_, io::Result<Box<dyn Receive>>>;

    /// A member asks for its clients.
    fn answer(&self, ask: Ask, deadline: Instant) -> BoxFuture<'_, Reply>;
}

/// A snapshot that arrives. Dropped before it is complete, it leaves nothing.
pub(crate) trait Receive: Send {
    /// Stores the next piece.
    fn write(&mut self, piece: Bytes) -> BoxFuture<'_, io::Result<()>>;

    /// All of it is there.
    fn install(
        self: Box<Self>,
        vote: VoteOf<Types>,
        meta: SnapshotMetaOf<Types>,
    ) -> BoxFuture<'static, Result<SnapshotResponse<Types>, String>>;
}
