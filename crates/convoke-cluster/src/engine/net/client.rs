use std::sync::Arc;

use futures_util::Stream;
use openraft::OptionalSend;
use openraft::alias::{SnapshotOf, VoteOf};
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption, RaftNetworkFactory, RaftNetworkV2, stream_append_sequential};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::{Instant, timeout_at};

use super::append;
use super::dial::Dial;
use super::kind::Kind;
use super::lane::Lane;
use super::peers::Peers;
use super::snapshot::{self, Parcel};
use super::timing::Timing;
use crate::engine::types::Types;
use crate::{Member, NodeId};

/// Makes the connections that openraft asks for. `P` is what its snapshots are.
#[derive(Debug)]
pub(crate) struct Factory<P> {
    peers: Arc<Peers>,
    parcel: std::marker::PhantomData<fn() -> P>,
}

impl<P> Factory<P> {
    pub(crate) fn new(peers: Arc<Peers>) -> Self {
        Self { peers, parcel: std::marker::PhantomData }
    }

    fn client(&self, target: NodeId, member: &Member, heartbeats: bool) -> Client<P> {
        let dial = |lane| self.peers.dial(Some(target), &member.raft, lane);
        Client {
            log: dial(Lane::Log),
            control: dial(Lane::Control),
            snapshot: dial(Lane::Snapshot),
            heartbeats,
            timing: self.peers.caller().timing,
            parcel: std::marker::PhantomData,
        }
    }
}

impl<P: Parcel> RaftNetworkFactory<Types> for Factory<P> {
    type Network = Client<P>;

    async fn new_client(&mut self, target: NodeId, node: &Member) -> Client<P> {
        self.client(target, node, false)
    }

    async fn new_heartbeat_client(&mut self, target: NodeId, node: &Member) -> Client<P> {
        self.client(target, node, true)
    }
}

/// openraft's way to one member.
#[derive(Debug)]
pub(crate) struct Client<P> {
    log: Dial,
    control: Dial,
    snapshot: Dial,
    /// Its entries are none: they go where votes go, and wait behind nobody's.
    heartbeats: bool,
    timing: Timing,
    parcel: std::marker::PhantomData<fn() -> P>,
}

/// Whatever is wrong with the way to a member, openraft has to pause before it tries again.
pub(super) fn unreachable(why: impl ToString) -> RPCError<Types> {
    RPCError::Unreachable(Unreachable::from_string(why))
}

impl<P> Client<P> {
    async fn control<Q, A>(&self, kind: Kind, question: &Q, option: &RPCOption) -> Result<A, RPCError<Types>>
    where
        Q: Serialize + Sync,
        A: DeserializeOwned,
    {
        // openraft gives up then in any case; the connection stays, and late answers on it are dropped.
        let deadline = Instant::now() + option.hard_ttl();
        let link = timeout_at(deadline, self.control.link()).await;
        let link = link.map_err(|_| unreachable("no connection in time"))?.map_err(unreachable)?;
        link.ask(kind, question, deadline).await.map_err(unreachable)
    }
}

impl<P: Parcel> RaftNetworkV2<Types> for Client<P> {
    type SnapshotData = P;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let answer = self.control(Kind::Heartbeat, &request, &option).await?;
        if answer == AppendEntriesResponse::Conflict && request.prev_log_id.is_none() {
            return Err(unreachable("the peer is in conflict with the beginning of the log"));
        }
        Ok(answer)
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<
        's,
        Result<BoxStream<'s, Result<StreamAppendResult<Types>, RPCError<Types>>>, RPCError<Types>>,
    >
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        if self.heartbeats {
            return stream_append_sequential(self, input, option);
        }
        let answers = append::session(self.log.clone(), input, self.timing);
        Box::pin(async { Ok(answers) })
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.control(Kind::Vote, &request, &option).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.control(Kind::PreVote, &request, &option).await
    }

    async fn full_snapshot(
        &mut self,
        vote: VoteOf<Types>,
        snapshot: SnapshotOf<Types, P>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        // openraft's limit for this is one for a small message.
        tokio::select! {
            biased;
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = snapshot::send(&self.snapshot, self.timing, vote, snapshot) => sent,
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        self.control(Kind::Transfer, &request, &option).await
    }

    fn backoff(&self) -> Option<Backoff> {
        let timing = self.timing;
        // The connection pauses by itself; this keeps openraft from asking in vain meanwhile.
        Some(Backoff::new((1..=u32::MAX).map(move |failures| timing.pause(failures, 0))))
    }
}
