use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use super::{Keeps, Life};
use crate::{
    Error, ErrorKind, Member, NodeId, StateMachine,
    engine::calls::{Ask, Change, Reach, Reply},
};

/// How often others are asked while the place is not known.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// How long one of them may take.
const ASK_WITHIN: Duration = Duration::from_secs(1);
/// How often it is said what is waited for.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// The place of a node in its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It is in its own log, or was there before.
    Known(NodeId),
    /// It begins the cluster with others. The `first` of them writes that down.
    Founder { id: NodeId, first: bool },
    /// It was added to a cluster.
    Added(NodeId),
}

impl Place {
    pub(super) fn id(self) -> NodeId {
        match self {
            Self::Known(id) | Self::Founder { id, .. } | Self::Added(id) => id,
        }
    }
}

/// What the other founders say.
#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    /// They have no state either.
    fresh: Vec<NodeId>,
    /// They have, and who leads them.
    founded: Vec<(NodeId, Option<NodeId>)>,
}

/// What a founder without state does next.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// There was no cluster before, so nothing can have been forgotten.
    Begin {
        first: bool,
    },
    /// There is one: it says whether this node was there before.
    AskToEnter,
    Wait,
}

impl<M: StateMachine, L: Keeps> Life<M, L> {
    pub(super) async fn place(&mut self, fresh: bool) -> Result<Place, Error> {
        let known = self.disk.plate.id;
        if let (Some(known), Some(wanted)) = (known, self.config.node_id)
            && known != wanted
        {
            return Err(Error::config(format!(
                "`node_id` is {wanted}, and the state on this disk is that of node {known}: give each node its own \
                 `persistent_state_path`"
            )));
        }
        match known.or(self.config.node_id) {
            Some(id) if !fresh => Ok(Place::Known(id)),
            Some(id) if self.config.founders.contains_key(&id) => self.found(id).await,
            // It was added, and stopped before it heard anything.
            Some(id) => Ok(Place::Added(id)),
            None => self.seat().await,
        }
    }

    /// A founder without state: is there a cluster, and may it take part?
    async fn found(&mut self, id: NodeId) -> Result<Place, Error> {
        // Others look for this founder, too.
        self.identity.set_id(id);
        let mut said = Instant::now();
        loop {
            let heard = self.hear(id).await;
            match heard.next(id, self.config.founders.len()) {
                Next::Begin { first } => return Ok(Place::Founder { id, first }),
                Next::AskToEnter => {
                    if self.enter(id, &heard).await? {
                        return Ok(Place::Added(id));
                    }
                    self.waits("the cluster has no leader that could let this node in");
                }
                Next::Wait => self.waits("too few of the other founders can be reached to begin a cluster"),
            }
            self.say(&mut said);
            sleep(ASK_EVERY).await;
        }
    }

    async fn hear(&self, me: NodeId) -> Heard {
        let calls = self.net.calls();
        let ask = async |id: NodeId, member: &Member| {
            let reply = calls.ask(Some(id), &member.raft, Ask::Leader, Instant::now() + ASK_WITHIN).await;
            (id, reply.ok())
        };
        let others = self.config.founders.iter().filter(|(id, _)| **id != me);
        let replies = join_all(others.map(|(id, member)| ask(*id, member))).await;
        let mut heard = Heard::default();
        for (id, reply) in replies {
            match reply {
                Some(Reply::Leader { founded: true, leader }) => heard.founded.push((id, leader)),
                Some(Reply::Leader { founded: false, .. }) => heard.fresh.push(id),
                _ => {}
            }
        }
        heard
    }

    /// Asks the leader whether this node may take part with the disk it has.
    async fn enter(&self, id: NodeId, heard: &Heard) -> Result<bool, Error> {
        let calls = self.net.calls();
        let leaders = heard.founded.iter().map(|(other, leader)| leader.unwrap_or(*other));
        for leader in leaders.filter(|leader| *leader != id) {
            let Some(member) = self.config.founders.get(&leader) else { continue };
            let settle = Ask::Change(Change::Settle { id, disk: self.disk.plate.disk });
            let deadline = Instant::now() + ASK_WITHIN;
            match calls.ask(Some(leader), &member.raft, settle, deadline).await {
                Ok(Reply::Changed(_)) => return Ok(true),
                Ok(Reply::Failed { kind: ErrorKind::Refused, message }) => {
                    return Err(Error::refused(message));
                }
                _ => {}
            }
        }
        Ok(false)
    }

    /// A node that joins: waits until it was added, and learns its number.
    async fn seat(&mut self) -> Result<Place, Error> {
        let name = self.config.name(&self.address);
        let calls = self.net.calls();
        let mut said = Instant::now();
        loop {
            for address in &self.config.join {
                let ask = Ask::Seat { name: name.clone(), raft: self.address.clone() };
                if let Ok(Reply::Seat(Some(seat))) =
                    calls.ask(None, address, ask, Instant::now() + ASK_WITHIN).await
                {
                    return Ok(Place::Added(seat.id));
                }
            }
            self.waits(format!("this node waits to be added to the cluster as {name:?} at {}", self.address));
            self.say(&mut said);
            sleep(ASK_EVERY).await;
        }
    }

    fn say(&self, said: &mut Instant) {
        if said.elapsed() >= SAY_EVERY {
            *said = Instant::now();
            if let super::Phase::Waiting(what) = &*self.phase.borrow() {
                tracing::warn!(what, "this node has no place in the cluster yet");
            }
        }
    }
}

impl Heard {
    fn next(&self, me: NodeId, founders: usize) -> Next {
        if !self.founded.is_empty() {
            return Next::AskToEnter;
        }
        // Whatever was acknowledged is on a majority, which has a node in common with this one.
        if self.fresh.len() + 1 > founders / 2 {
            return Next::Begin { first: self.fresh.iter().all(|other| *other > me) };
        }
        Next::Wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(me: NodeId, founders: usize, fresh: &[NodeId], founded: &[NodeId], expected: Next) {
        let founded = founded.iter().map(|id| (*id, None)).collect();
        assert_eq!(Heard { fresh: fresh.to_vec(), founded }.next(me, founders), expected);
    }

    #[test]
    fn a_majority_without_state_begins_a_cluster_and_its_lowest_number_writes_it_down() {
        check(1, 1, &[], &[], Next::Begin { first: true });
        check(1, 3, &[], &[], Next::Wait);
        check(1, 3, &[3], &[], Next::Begin { first: true });
        check(2, 3, &[1, 3], &[], Next::Begin { first: false });
        check(3, 5, &[4], &[], Next::Wait);
        check(3, 5, &[4, 5], &[], Next::Begin { first: true });
        check(1, 2, &[], &[], Next::Wait);
    }

    #[test]
    fn one_founder_with_state_is_enough_to_ask_to_enter() {
        check(1, 3, &[2], &[3], Next::AskToEnter);
        check(1, 3, &[], &[3], Next::AskToEnter);
    }
}
