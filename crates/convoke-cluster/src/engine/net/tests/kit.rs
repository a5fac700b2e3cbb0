//! A listener that answers as a test says, and wires within the process.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use convoke_core::BoxFuture;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use openraft::alias::{LogIdOf, SnapshotMetaOf, VoteOf};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::vote::{RaftLeaderId, RaftVote};
use tokio::io::DuplexStream;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::engine::calls::{Ask, Reply};
use crate::engine::net::{BoxWire, Connect, Identity, Net, Receive, Server, Service, Timing};
use crate::engine::types::{Op, Proposal, Types};
use crate::{Member, NodeId, Secret};

pub(super) const SECRET: &str = "a secret of the tests";

pub(super) fn identity(id: NodeId) -> Identity {
    let identity = Identity::new("tests", Some(&Secret::new(SECRET).expect("long enough")));
    identity.set_id(id);
    identity
}

pub(super) fn member(at: &str) -> Member {
    Member::new(at, at)
}

pub(super) fn vote(term: u64, node: NodeId) -> VoteOf<Types> {
    let leader = openraft::impls::leader_id_std::LeaderId { term, voted_for: node };
    VoteOf::<Types>::from_leader_id(leader, true)
}

pub(super) fn log_id(term: u64, index: u64) -> LogIdOf<Types> {
    let leader = openraft::impls::leader_id_std::LeaderId { term, voted_for: 1 };
    LogIdOf::<Types>::new(leader.to_committed(), index)
}

/// Entries `from..to`, each with a command of so many bytes.
pub(super) fn append(from: u64, to: u64, command_bytes: usize) -> AppendEntriesRequest<Types> {
    let entry = |index| openraft::Entry {
        log_id: log_id(1, index),
        payload: openraft::EntryPayload::Normal(Proposal {
            time_ms: 7,
            origin: None,
            op: Op::Machine(Bytes::from(vec![u8::try_from(index % 251).expect("small"); command_bytes])),
        }),
    };
    AppendEntriesRequest {
        vote: vote(1, 1),
        prev_log_id: from.checked_sub(1).map(|index| log_id(1, index)),
        entries: (from..to).map(entry).collect(),
        leader_commit: None,
    }
}

/// What stands behind the listeners of these tests.
#[derive(Debug)]
pub(super) struct Fake {
    /// `false`: whoever asks waits.
    pub(super) answers: watch::Sender<bool>,
    pub(super) votes: AtomicUsize,
    /// Indexes of the entries that came, in order.
    pub(super) entries: Mutex<Vec<u64>>,
    /// The index that is in conflict.
    pub(super) conflict_at: Mutex<Option<u64>>,
    pub(super) received: Mutex<Vec<u8>>,
    pub(super) installed: AtomicUsize,
    /// Snapshots that are arriving.
    pub(super) arriving: Arc<AtomicUsize>,
    pub(super) asked: Mutex<Vec<Ask>>,
}

impl Default for Fake {
    fn default() -> Self {
        Self {
            answers: watch::Sender::new(true),
            votes: AtomicUsize::default(),
            entries: Mutex::default(),
            conflict_at: Mutex::default(),
            received: Mutex::default(),
            installed: AtomicUsize::default(),
            arriving: Arc::default(),
            asked: Mutex::default(),
        }
    }
}

impl Fake {
    async fn until_it_answers(&self) {
        let mut answers = self.answers.subscribe();
        answers.wait_for(|answers| *answers).await.expect("the fake outlives its questions");
    }

    fn take(&self, request: &AppendEntriesRequest<Types>) -> StreamAppendResult<Types> {
        let mut entries = self.entries.lock().expect("no test panics here");
        let conflict = *self.conflict_at.lock().expect("no test panics here");
        for entry in &request.entries {
            if conflict == Some(entry.log_id.index) {
                return Err(openraft::raft::StreamAppendError::Conflict(entry.log_id));
            }
            entries.push(entry.log_id.index);
        }
        Ok(request.entries.last().map(|entry| entry.log_id).or(request.prev_log_id))
    }

    pub(super) fn indexes(&self) -> Vec<u64> {
        self.entries.lock().expect("no test panics here").clone()
    }
}

/// [`Fake`] behind a listener.
#[derive(Debug, Clone, Default)]
pub(super) struct FakeService(pub(super) Arc<Fake>);

impl Service for FakeService {
    fn vote(&self, request: VoteRequest<Types>) -> BoxFuture<'_, Result<VoteResponse<Types>, String>> {
        Box::pin(async move {
            self.0.until_it_answers().await;
            self.0.votes.fetch_add(1, Ordering::SeqCst);
            Ok(VoteResponse::new(request.vote, request.last_log_id, true))
        })
    }

    fn pre_vote(&self, request: VoteRequest<Types>) -> BoxFuture<'_, Result<VoteResponse<Types>, String>> {
        Box::pin(async move { Ok(VoteResponse::new(request.vote, request.last_log_id, false)) })
    }

    fn append(
        &self,
        request: AppendEntriesRequest<Types>,
    ) -> BoxFuture<'_, Result<AppendEntriesResponse<Types>, String>> {
        Box::pin(async move {
            self.0.until_it_answers().await;
            Ok(self.0.take(&request).into())
        })
    }

    fn append_all(
        &self,
        requests: BoxStream<'static, AppendEntriesRequest<Types>>,
    ) -> BoxStream<'static, Result<StreamAppendResult<Types>, String>> {
        let fake = Arc::clone(&self.0);
        stream::unfold((requests, false), move |(mut requests, over)| {
            let fake = Arc::clone(&fake);
            async move {
                if over {
                    return None;
                }
                let request = requests.next().await?;
                fake.until_it_answers().await;
                let answer = fake.take(&request);
                let over = answer.is_err();
                Some((Ok(answer), (requests, over)))
            }
        })
        .boxed()
    }

    fn transfer(
        &self,
        _request: TransferLeaderRequest<Types>,
    ) -> BoxFuture<'_, Result<TransferLeaderResponse<Types>, String>> {
        Box::pin(async { Err("nobody leads here".to_owned()) })
    }

    fn receive(&self) -> BoxFuture<'_, io::Result<Box<dyn Receive>>> {
        self.0.arriving.fetch_add(1, Ordering::SeqCst);
        let fake = Arc::clone(&self.0);
        Box::pin(async move { Ok(Box::new(FakeReceive { fake, bytes: Vec::new() }) as Box<dyn Receive>) })
    }

    fn answer(&self, ask: Ask, _deadline: Instant) -> BoxFuture<'_, Reply> {
        Box::pin(async move {
            self.0.asked.lock().expect("no test panics here").push(ask);
            self.0.until_it_answers().await;
            Reply::ReadIndex(9)
        })
    }
}

struct FakeReceive {
    fake: Arc<Fake>,
    bytes: Vec<u8>,
}

impl Receive for FakeReceive {
    fn write(&mut self, piece: Bytes) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            self.fake.until_it_answers().await;
            self.bytes.extend_from_slice(&piece);
            Ok(())
        })
    }

    fn install(
        mut self: Box<Self>,
        vote: VoteOf<Types>,
        _meta: SnapshotMetaOf<Types>,
    ) -> BoxFuture<'static, Result<SnapshotResponse<Types>, String>> {
        Box::pin(async move {
            *self.fake.received.lock().expect("no test panics here") = std::mem::take(&mut self.bytes);
            self.fake.installed.fetch_add(1, Ordering::SeqCst);
            Ok(SnapshotResponse::new(vote))
        })
    }
}

impl Drop for FakeReceive {
    fn drop(&mut self) {
        self.fake.arriving.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Pipes within the process, by address.
#[derive(Debug, Clone, Default)]
pub(super) struct Pipes {
    listeners: Arc<Mutex<HashMap<String, mpsc::UnboundedSender<DuplexStream>>>>,
}

/// Bytes that lie in a pipe.
const PIPE_BYTES: usize = 64 * 1024;

impl Pipes {
    pub(super) fn listen(&self, at: &str) -> mpsc::UnboundedReceiver<DuplexStream> {
        let (connections, accepted) = mpsc::unbounded_channel();
        self.listeners.lock().expect("no test panics here").insert(at.to_owned(), connections);
        accepted
    }

    /// Serves what is connected to `at`.
    pub(super) fn serve(&self, at: &str, server: Server) -> tokio::task::JoinHandle<()> {
        let mut accepted = self.listen(at);
        tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Some(stream) = accepted.recv().await {
                let server = server.clone();
                connections.spawn(async move { server.serve(Box::new(stream), "a pipe").await });
            }
        })
    }
}

impl Connect for Pipes {
    fn connect<'a>(&'a self, _to: Option<NodeId>, at: &'a str) -> BoxFuture<'a, io::Result<BoxWire>> {
        Box::pin(async move {
            let listeners = self.listeners.lock().expect("no test panics here");
            let listener = listeners.get(at).ok_or(io::ErrorKind::ConnectionRefused)?;
            let (near, far) = tokio::io::duplex(PIPE_BYTES);
            listener.send(far).map_err(|_| io::ErrorKind::ConnectionRefused)?;
            Ok(Box::new(near) as BoxWire)
        })
    }
}

/// Node 1, which calls, and node 2 at `two`, which is a [`Fake`].
pub(super) struct Pair {
    pub(super) one: Net,
    pub(super) pipes: Pipes,
    pub(super) fake: Arc<Fake>,
    pub(super) server: Server,
    pub(super) listening: tokio::task::JoinHandle<()>,
}

pub(super) fn pair() -> Pair {
    let pipes = Pipes::default();
    let service = FakeService::default();
    let fake = Arc::clone(&service.0);
    let one = Net::new(identity(1), Timing::default(), Arc::new(pipes.clone()));
    let two = Net::new(identity(2), Timing::default(), Arc::new(pipes.clone()));
    let server = two.server(Arc::new(service));
    let listening = pipes.serve("two", server.clone());
    Pair { one, pipes, fake, server, listening }
}

/// A snapshot that makes itself up while it is sent.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) bytes: u64,
    /// How many of its bytes were asked for.
    pub(super) made: Arc<AtomicUsize>,
    /// How many bytes it has fewer than it says.
    pub(super) short_by: usize,
}

/// Bytes of one piece of [`Made`].
pub(super) const PIECE: usize = 64 * 1024;

impl crate::engine::net::Parcel for Made {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn pieces(self) -> BoxStream<'static, io::Result<Bytes>> {
        let left = usize::try_from(self.bytes).expect("a test's snapshot fits") - self.short_by;
        stream::unfold(left, move |left| {
            let piece = left.min(PIECE);
            self.made.fetch_add(piece, Ordering::SeqCst);
            async move { (piece > 0).then(|| (Ok(Bytes::from(vec![0xA5; piece])), left - piece)) }
        })
        .boxed()
    }
}

pub(super) fn heartbeat_ttl() -> openraft::network::RPCOption {
    openraft::network::RPCOption::new(Duration::from_millis(80))
}
