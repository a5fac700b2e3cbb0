//! A service with something for the leader, on several nodes of one bus.

use std::{
    ops::Deref,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use convoke::{
    App, Bus, Command, Context, DeadLetter, Failure, Fence, InProcess, Mediator, Node, Outcome, Query,
    Rejection, SendError, Stores, handlers, stores_in_process,
};
use convoke_testing::Elections;
use serde::{Deserialize, Serialize};

/// What a handler does with a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Do {
    Reply,
    Refuse,
    Fault,
    /// Runs until it is dropped.
    Hang,
    /// Replies after leadership ended, in one go.
    ReplyDeposed,
    /// Hangs the first time it is asked, and replies then.
    HangOnce,
}

/// Who answered, and what it knew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) node: String,
    pub(crate) fence: Option<Fence>,
    pub(crate) id: String,
    pub(crate) key: Option<String>,
    pub(crate) tenant: Option<String>,
    pub(crate) correlation: String,
    pub(crate) trace: Option<String>,
    pub(crate) remaining_ms: u128,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Command)]
#[command(name = "cluster.forward.v1", reply = Answer, error = Rejection)]
pub(crate) struct Forward(pub(crate) Do);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Command)]
#[command(name = "cluster.reject.v1", reply = Answer, error = Rejection)]
pub(crate) struct Reject(pub(crate) Do);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Command)]
#[command(name = "cluster.once.v1", reply = Answer, error = Rejection, idempotent)]
pub(crate) struct Once(pub(crate) Do);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Query)]
#[query(name = "cluster.ask.v1", reply = Answer, error = Rejection)]
pub(crate) struct Ask(pub(crate) Do);

/// What all nodes share.
#[derive(Clone, Default)]
pub(crate) struct World {
    pub(crate) elections: Elections,
    ran: Arc<Mutex<Vec<String>>>,
    hung: Arc<AtomicUsize>,
    pub(crate) dropped: Arc<AtomicUsize>,
}

impl World {
    /// What ran: the node, the command, and what it was to do.
    pub(crate) fn ran(&self) -> Vec<String> {
        self.ran.lock().unwrap().clone()
    }

    pub(crate) fn hung(&self) -> usize {
        self.hung.load(Ordering::SeqCst)
    }

    pub(crate) fn dropped(&self) -> usize {
        self.dropped.load(Ordering::SeqCst)
    }

    async fn works(&self, what: Do, cx: &Context) -> Result<Answer, Failure<Rejection>> {
        self.ran.lock().unwrap().push(format!("{} {} {what:?}", cx.node(), cx.name()));
        match what {
            Do::Refuse => return Err(Rejection::new("no", "not today").into()),
            Do::Fault => return Err(Failure::fault("the disk is full")),
            Do::Hang => self.hang().await,
            Do::HangOnce if self.hung() == 0 => self.hang().await,
            Do::ReplyDeposed => self.elections.depose(),
            Do::Reply | Do::HangOnce => {}
        }
        Ok(Answer {
            node: cx.node().to_owned(),
            fence: cx.leader_fence(),
            id: cx.id().to_string(),
            key: cx.idempotency_key().map(str::to_owned),
            tenant: cx.header("tenant").map(str::to_owned),
            correlation: cx.correlation_id().to_string(),
            trace: cx.traceparent().map(str::to_owned),
            remaining_ms: cx.remaining().as_millis(),
        })
    }

    async fn hang(&self) {
        let _dropped = Dropped(self.dropped.clone());
        self.hung.fetch_add(1, Ordering::SeqCst);
        std::future::pending::<()>().await;
    }
}

struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

pub(crate) struct Led(pub(crate) World);

#[handlers]
impl Led {
    #[handler(leader)]
    async fn forward(&self, command: Forward, cx: &Context) -> Outcome<Forward> {
        self.0.works(command.0, cx).await
    }

    #[handler(leader = "reject")]
    async fn reject(&self, command: Reject, cx: &Context) -> Outcome<Reject> {
        self.0.works(command.0, cx).await
    }

    #[handler(leader, attempts = 3)]
    async fn once(&self, command: Once, cx: &Context) -> Outcome<Once> {
        self.0.works(command.0, cx).await
    }

    #[handler(leader)]
    async fn ask(&self, query: Ask, cx: &Context) -> Outcome<Ask> {
        self.0.works(query.0, cx).await
    }
}

impl World {
    pub(crate) fn app(&self, node: &str) -> App {
        let member = self.elections.member(node).http(format!("http://{node}:8081"));
        App::new("led").node(node).cluster(member).service(Led(self.clone()))
    }

    /// Nodes of one bus and one cluster.
    pub(crate) async fn nodes<const N: usize>(&self, names: [&str; N]) -> [Member; N] {
        Member::all(names.map(|name| self.app(name))).await
    }
}

/// A node among others. Unlike that of a `TestApp`, its `.local()` calls reach its own handler.
pub(crate) struct Member {
    node: Node,
    mediator: Mediator,
    place: InProcess,
    stores: Stores,
}

impl Member {
    /// On one bus, with the same stores.
    pub(crate) async fn all<const N: usize>(apps: [App; N]) -> [Self; N] {
        let (place, stores) = (InProcess::new(), stores_in_process());
        let mut members = Vec::new();
        for app in apps {
            members.push(Self::start(app, place.another_node(), stores.clone()).await);
        }
        members.try_into().ok().unwrap()
    }

    async fn start(app: App, place: InProcess, stores: Stores) -> Self {
        let node = app.on(place.another_node(), stores.clone()).start().await.unwrap();
        Self { mediator: node.mediator(), node, place, stores }
    }

    /// Stops it and starts another app in its place.
    pub(crate) async fn restart(self, app: App) -> Self {
        self.node.stop().await;
        Self::start(app, self.place, self.stores).await
    }

    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    pub(crate) fn bus(&self) -> Bus {
        self.place.bus()
    }

    pub(crate) fn dead_letters(&self) -> Vec<DeadLetter> {
        self.bus().dead_letters()
    }

    pub(crate) async fn settled(&self) {
        let settled = tokio::time::timeout(Duration::from_mins(1), self.bus().settled()).await;
        settled.expect("it comes to rest");
    }
}

impl Deref for Member {
    type Target = Mediator;
    fn deref(&self) -> &Mediator {
        &self.mediator
    }
}

/// Where a refused caller is told to go.
pub(crate) fn leader_of<T: std::fmt::Debug, E: std::fmt::Debug>(
    sent: Result<T, SendError<E>>,
) -> Option<String> {
    match sent {
        Err(SendError::NotLeader { leader }) => leader,
        other => panic!("not about the leader: {other:?}"),
    }
}
