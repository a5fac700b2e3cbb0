use std::{
    io,
    sync::{Arc, OnceLock},
};

use convoke_core::BoxFuture;
use futures_util::{StreamExt, stream, stream::BoxStream};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use tokio::time::Instant;

use super::{
    calls::{Answer, Ask, Reply},
    heard::Heard,
    net::{Receive, Served, Service},
    raft::Raft,
    replica::Replica,
    snapshot::Snapshots,
    types::Types,
};
use crate::{Error, StateMachine};

const NO_PLACE: &str = "this node has no place in the cluster yet";
const NO_VOTE: &str = "this node started a moment ago and does not vote yet";

/// What stands behind the listener of a node, from before it has a place in the cluster.
pub(crate) struct Door<M: StateMachine> {
    open: OnceLock<Open<M>>,
    /// Whether this node has state from before. Not known while its disk is read.
    founded: OnceLock<bool>,
    heard: Arc<Heard>,
}

struct Open<M: StateMachine> {
    served: Served<Replica<M>>,
    votes_from: Instant,
}

impl<M: StateMachine> Door<M> {
    pub(crate) fn closed() -> Self {
        Self { open: OnceLock::new(), founded: OnceLock::new(), heard: Arc::default() }
    }

    /// When a leader was heard last.
    pub(crate) fn heard(&self) -> Arc<Heard> {
        Arc::clone(&self.heard)
    }

    /// Tells founders without state whether this one has some. To be taken for one that has none would let them begin
    /// another cluster, without what only this one remembers.
    pub(crate) fn tell(&self, founded: bool) {
        let told = self.founded.set(founded).is_ok();
        debug_assert!(told, "a node looks at its disk once");
    }

    /// Lets others in. A node that restarted has forgotten whom it promised, before, not to vote against: it gives no
    /// vote until those promises are over.
    pub(crate) fn open(
        &self,
        raft: Raft<M>,
        snapshots: Snapshots,
        answers: Arc<dyn Answer>,
        votes_from: Instant,
    ) {
        let open = Open { served: Served { raft, snapshots, answers }, votes_from };
        let opened = self.open.set(open).is_ok();
        debug_assert!(opened, "a node gets its place once");
    }

    fn served(&self) -> Result<&Served<Replica<M>>, String> {
        self.open.get().map(|open| &open.served).ok_or_else(|| NO_PLACE.to_owned())
    }

    fn answer_closed(&self, ask: &Ask) -> Reply {
        match (ask, self.founded.get()) {
            (Ask::Leader, Some(founded)) => Reply::Leader { leader: None, founded: *founded },
            (Ask::Seat { .. }, _) => Reply::Seat(None),
            _ => {
                let error = Error::unavailable(NO_PLACE);
                Reply::Failed { kind: error.kind(), message: error.to_string() }
            }
        }
    }

    fn voter(&self) -> Result<&Served<Replica<M>>, String> {
        let open = self.open.get().ok_or(NO_PLACE)?;
        if Instant::now() < open.votes_from { Err(NO_VOTE.to_owned()) } else { Ok(&open.served) }
    }
}

impl<M: StateMachine> Service for Door<M> {
    fn vote(&self, request: VoteRequest<Types>) -> BoxFuture<'_, Result<VoteResponse<Types>, String>> {
        // Whoever was told to stand by the leader itself breaks no promise.
        let voter = if request.leadership_transfer { self.served() } else { self.voter() };
        Box::pin(async { voter?.vote(request).await })
    }

    fn pre_vote(&self, request: VoteRequest<Types>) -> BoxFuture<'_, Result<VoteResponse<Types>, String>> {
        Box::pin(async { self.voter()?.pre_vote(request).await })
    }

    fn append(
        &self,
        request: AppendEntriesRequest<Types>,
    ) -> BoxFuture<'_, Result<AppendEntriesResponse<Types>, String>> {
        Box::pin(async {
            let answer = self.served()?.append(request).await;
            if matches!(&answer, Ok(answer) if !matches!(answer, AppendEntriesResponse::HigherVote(_))) {
                self.heard.now();
            }
            answer
        })
    }

    fn append_all(
        &self,
        requests: BoxStream<'static, AppendEntriesRequest<Types>>,
    ) -> BoxStream<'static, Result<StreamAppendResult<Types>, String>> {
        match self.served() {
            Ok(served) => served.append_all(requests),
            Err(why) => stream::once(async { Err(why) }).boxed(),
        }
    }

    fn transfer(
        &self,
        request: TransferLeaderRequest<Types>,
    ) -> BoxFuture<'_, Result<TransferLeaderResponse<Types>, String>> {
        Box::pin(async { self.served()?.transfer(request).await })
    }

    fn receive(&self) -> BoxFuture<'_, io::Result<Box<dyn Receive>>> {
        Box::pin(async { self.served().map_err(io::Error::other)?.receive().await })
    }

    fn answer(&self, ask: Ask, deadline: Instant) -> BoxFuture<'_, Reply> {
        match (self.open.get(), ask) {
            (Some(open), ask) => open.served.answer(ask, deadline),
            (None, ask) => {
                let reply = self.answer_closed(&ask);
                Box::pin(async { reply })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::RwLock, time::Duration};

    use openraft::Vote;
    use tokio::time::sleep;

    use super::*;
    use crate::{
        Config,
        engine::{
            log::Log,
            net::{Identity, Net, Tcp, Timing},
            raft::tuning,
            runtime::watch,
        },
        kv::Machine,
        replicated::System,
    };

    struct Silent;

    impl Answer for Silent {
        fn answer(&self, _: Ask, _: Instant) -> BoxFuture<'_, Reply> {
            Box::pin(async { Reply::Seat(None) })
        }
    }

    async fn engine(snapshots: Snapshots) -> Raft<Machine> {
        let system = Arc::new(RwLock::new(System::new(Machine::default())));
        let replica = Replica::new(system, snapshots, watch::Sender::new(0));
        let net = Net::new(Identity::new("door", None), Timing::default(), Arc::new(Tcp));
        let tuned = tuning(&Config::new("127.0.0.1:0")).expect("it is fine");
        let raft = Raft::build(1, tuned, net.factory(), Log::in_memory(), replica).await;
        raft.expect("there is nothing to recover")
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_has_no_place_yet_says_whether_it_has_state_once_it_knows() {
        let founded = async |door: &Door<Machine>| match door.answer(Ask::Leader, Instant::now()).await {
            Reply::Leader { leader: None, founded } => Some(founded),
            _ => None,
        };
        let door = Door::closed();
        assert_eq!(founded(&door).await, None, "its disk is read");
        door.tell(true);
        assert_eq!(founded(&door).await, Some(true), "no founder begins another cluster with this one");
        let door = Door::closed();
        door.tell(false);
        assert_eq!(founded(&door).await, Some(false));
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_restarted_gives_no_vote_while_a_promise_may_hold() {
        let (door, snapshots) = (Door::closed(), Snapshots::in_memory());
        let ask = || VoteRequest::<Types>::new(Vote::new(1, 2), None);
        assert_eq!(door.vote(ask()).await, Err(NO_PLACE.to_owned()));
        let raft = engine(snapshots.clone()).await;
        let lease = Duration::from_millis(400);
        door.open(raft.clone(), snapshots, Arc::new(Silent), Instant::now() + lease);
        raft.run();
        sleep(lease - Duration::from_millis(1)).await;
        assert_eq!(door.pre_vote(ask()).await, Err(NO_VOTE.to_owned()));
        assert_eq!(door.vote(ask()).await, Err(NO_VOTE.to_owned()));
        sleep(Duration::from_millis(1)).await;
        assert!(door.vote(ask()).await.is_ok_and(|answer| answer.vote_granted));
        raft.shutdown().await.expect("it stops");
    }
}
