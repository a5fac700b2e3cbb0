//! A cluster without consensus: who leads is what the test says.
use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use convoke_core::{BoxFuture, Coordinator, CoordinatorHealth, Fence, LeaderInfo, Leadership, NotLeader};
use tokio::{sync::watch, time::Instant};

/// Leaders by decree, for tests of what a leader does. Also a coordinator for a program that is told by somebody
/// else who leads, such as an operator.
///
/// ```
/// use convoke_core::Coordinator;
/// use convoke_testing::Elections;
///
/// let elections = Elections::new();
/// let (n1, n2) = (elections.member("n1"), elections.member("n2"));
/// assert_eq!(elections.elect("n1"), 1, "the first term");
/// assert!(n1.leadership().borrow().is_leader());
/// assert_eq!(n2.leadership().borrow().leader().map(|leader| &*leader.node), Some("n1"));
/// ```
#[derive(Clone, Default)]
pub struct Elections {
    poll: Arc<Mutex<Poll>>,
}

#[derive(Default)]
struct Poll {
    members: Vec<Arc<Shared>>,
    term: u64,
    index: u64,
    leader: Option<String>,
}

/// One node's view of [`Elections`]. Give it to `App::cluster`.
#[derive(Clone)]
pub struct Elected {
    shared: Arc<Shared>,
    poll: Arc<Mutex<Poll>>,
}

struct Shared {
    node: String,
    http: Mutex<Option<String>>,
    view: watch::Sender<Leadership>,
    health: Mutex<CoordinatorHealth>,
    /// Whether it stopped: it is elected no more.
    left: Mutex<bool>,
}

impl Elections {
    /// Nobody leads yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A node that may be elected; the same one each time it is asked for.
    pub fn member(&self, node: &str) -> Elected {
        let mut poll = lock(&self.poll);
        let known = poll.members.iter().find(|member| member.node == node).cloned();
        let shared = known.unwrap_or_else(|| {
            let shared = Arc::new(Shared {
                node: node.to_owned(),
                http: Mutex::default(),
                view: watch::Sender::new(Leadership::NoLeader),
                health: Mutex::new(CoordinatorHealth::Up),
                left: Mutex::default(),
            });
            poll.members.push(shared.clone());
            poll.tell_all();
            shared
        });
        Elected { shared, poll: self.poll.clone() }
    }

    /// Makes a node the leader of a new term, which everybody hears at once. What runs at a former leader then has no
    /// time to end before: a cluster, whose leases end before another can lead, [`depose`](Self::depose)s first and
    /// lets a moment pass.
    ///
    /// # Panics
    /// When there is no such member.
    pub fn elect(&self, node: &str) -> u64 {
        self.depose();
        let mut poll = lock(&self.poll);
        assert!(poll.members.iter().any(|member| member.node == node), "`{node}` is a member");
        poll.term += 1;
        poll.leader = Some(node.to_owned());
        poll.tell_all();
        poll.term
    }

    /// From now on nobody leads.
    pub fn depose(&self) {
        let mut poll = lock(&self.poll);
        poll.leader = None;
        poll.tell_all();
    }

    /// The term of the last election.
    pub fn term(&self) -> u64 {
        lock(&self.poll).term
    }

    /// Who leads.
    pub fn leader(&self) -> Option<String> {
        lock(&self.poll).leader.clone()
    }
}

impl Poll {
    fn leader(&self) -> Option<LeaderInfo> {
        let leader = self.members.iter().find(|member| Some(&member.node) == self.leader.as_ref())?;
        Some(LeaderInfo { node: leader.node.clone(), http: lock(&leader.http).clone(), term: self.term })
    }

    fn tell_all(&self) {
        for member in &self.members {
            member.view.send_replace(match self.leader() {
                Some(leader) if leader.node == member.node => Leadership::Leader { term: leader.term },
                Some(leader) => Leadership::Follower { leader },
                None => Leadership::NoLeader,
            });
        }
    }
}

impl Elected {
    /// The address of its HTTP server, which the others hear with the next election.
    #[must_use]
    pub fn http(self, url: impl Into<String>) -> Self {
        *lock(&self.shared.http) = Some(url.into());
        self
    }

    /// What this node alone believes until the next election; a confirmation still tells the truth.
    pub fn believes(&self, leadership: Leadership) {
        self.shared.view.send_replace(leadership);
    }

    /// How it says the cluster stands.
    pub fn feels(&self, health: CoordinatorHealth) {
        *lock(&self.shared.health) = health;
    }

    /// Whether its node stopped.
    pub fn has_left(&self) -> bool {
        *lock(&self.shared.left)
    }
}

impl Coordinator for Elected {
    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.shared.view.subscribe()
    }

    fn confirm(&self, _: Instant) -> BoxFuture<'_, Result<Fence, NotLeader>> {
        let mut poll = lock(&self.poll);
        let confirmed = match poll.leader() {
            Some(leader) if leader.node == self.shared.node => {
                poll.index += 1;
                Ok(Fence { term: poll.term, index: poll.index })
            }
            leader => Err(NotLeader { leader }),
        };
        Box::pin(std::future::ready(confirmed))
    }

    fn health(&self) -> CoordinatorHealth {
        lock(&self.shared.health).clone()
    }

    /// The first of the others that are still there leads, if there is one.
    fn resign(&self, _: Instant) -> BoxFuture<'_, ()> {
        let elections = Elections { poll: self.poll.clone() };
        if elections.leader().as_deref() == Some(&*self.shared.node) {
            let heir = lock(&self.poll)
                .members
                .iter()
                .find(|member| member.node != self.shared.node && !*lock(&member.left))
                .map(|member| member.node.clone());
            match heir {
                Some(heir) => drop(elections.elect(&heir)),
                None => elections.depose(),
            }
        }
        Box::pin(std::future::ready(()))
    }

    fn shutdown(&self, deadline: Instant) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            *lock(&self.shared.left) = true;
            self.resign(deadline).await;
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Elections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let poll = lock(&self.poll);
        f.debug_struct("Elections")
            .field("term", &poll.term)
            .field("leader", &poll.leader)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Elected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let view = self.shared.view.borrow().clone();
        f.debug_struct("Elected")
            .field("node", &self.shared.node)
            .field("view", &view)
            .finish_non_exhaustive()
    }
}
