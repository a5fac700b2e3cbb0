mod patience;

use std::time::Duration;

use convoke_core::Executed;
use openraft::async_runtime::watch::WatchReceiver;
use tokio::time::{Instant, sleep, timeout_at};

use self::patience::Patience;
use super::Node;
use crate::{
    Error, ErrorKind, NodeId, StateMachine,
    engine::{
        calls::{Ask, Reply},
        leading::{self, Leading},
    },
};

/// What became of one attempt.
enum Attempt {
    Answered(Reply),
    Failed(Error),
    /// Another node leads now, or none, and the one that was asked may have done it or not.
    Moved,
}

impl<M: StateMachine> Node<M> {
    /// Asks the leader, wherever it is, and the next one when it goes. `ask` makes the question anew for each attempt, so
    /// it must be one that may come twice.
    ///
    /// # Errors
    /// What the leader says, or by the deadline why there was no answer.
    pub(crate) async fn at_leader(&self, ask: impl Fn() -> Ask, deadline: Instant) -> Result<Reply, Error> {
        self.ask_leaders(ask, deadline, true).await
    }

    /// As [`at_leader`](Self::at_leader), for what must not come twice: when the leader goes while it is asked, that is
    /// an error.
    pub(super) async fn at_leader_once(
        &self,
        ask: impl Fn() -> Ask,
        deadline: Instant,
    ) -> Result<Reply, Error> {
        self.ask_leaders(ask, deadline, false).await
    }

    async fn ask_leaders(
        &self,
        ask: impl Fn() -> Ask,
        deadline: Instant,
        again: bool,
    ) -> Result<Reply, Error> {
        let mut failed = Error::no_leader();
        let mut hint = None;
        let mut patience = Patience::default();
        loop {
            let leading = self.hinted(hint.take()).unwrap_or_else(|| self.leading());
            let attempt = match timeout_at(deadline, self.attempt(&leading, &ask, deadline)).await {
                Ok(attempt) => attempt,
                // What was sent may still be done; while nobody leads, nothing was sent.
                Err(_) if leading == Leading::Nobody => return Err(failed),
                Err(_) => return Err(Error::timed_out()),
            };
            match attempt {
                Attempt::Answered(Reply::NotLeader(leader)) => {
                    hint = leader.filter(|&id| leading.id(self.id) != Some(id) && patience.follows_hint());
                }
                Attempt::Answered(Reply::Failed { kind, message }) if may_pass(kind) => {
                    failed = graver(failed, Error::new(kind, message));
                }
                Attempt::Answered(Reply::Failed { kind, message }) => return Err(Error::new(kind, message)),
                Attempt::Answered(reply) => return Ok(reply),
                Attempt::Failed(error) if may_pass(error.kind()) => failed = graver(failed, error),
                Attempt::Failed(error) => return Err(error),
                Attempt::Moved => {
                    if leading != Leading::Nobody {
                        failed = Error::timed_out();
                    }
                    if !again && leading != Leading::Nobody {
                        return Err(failed);
                    }
                    patience = Patience::default();
                    continue;
                }
            }
            if hint.is_none() && timeout_at(deadline, self.pause(&leading, patience.pause())).await.is_err() {
                return Err(failed);
            }
        }
    }

    async fn attempt(&self, leading: &Leading, ask: impl Fn() -> Ask, deadline: Instant) -> Attempt {
        let answer = async {
            match leading {
                Leading::Here { .. } => Attempt::Answered(self.answer_here(ask(), deadline).await),
                Leading::There { id, member, .. } => match ask() {
                    Ask::Propose { .. } if !self.config.forward => Attempt::Failed(Error::not_leader()),
                    ask => {
                        let asked = self.reach.ask(Some(*id), &member.raft, ask, deadline).await;
                        asked.map_or_else(Attempt::Failed, Attempt::Answered)
                    }
                },
                Leading::Nobody => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            attempt = answer => attempt,
            () = self.moved(leading) => Attempt::Moved,
        }
    }

    /// The leader that the one we asked told us of, when we know where it is.
    fn hinted(&self, hint: Option<NodeId>) -> Option<Leading> {
        let id = hint?;
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let member = metrics.membership_config.membership().get_node(&id).filter(|_| id != self.id)?;
        Some(Leading::There { id, term: leading::latest_term(&metrics.vote), member: member.clone() })
    }

    /// Returns when somebody else leads, in a later term or after nobody did.
    async fn moved(&self, since: &Leading) {
        let term = |leading: &Leading| match leading {
            Leading::Here { term } | Leading::There { term, .. } => Some(*term),
            Leading::Nobody => None,
        };
        let mut metrics = self.raft.server_metrics();
        loop {
            let now = Leading::of(&metrics.borrow_and_update());
            if now != Leading::Nobody && term(&now) > term(since) {
                return;
            }
            if metrics.changed().await.is_err() {
                // The engine stopped: whoever waits for its answer is told so, and there is no other leader to ask.
                return std::future::pending().await;
            }
        }
    }

    /// So long, or until somebody else leads.
    async fn pause(&self, leading: &Leading, pause: Duration) {
        tokio::select! {
            biased;
            () = sleep(pause) => {}
            () = self.moved(leading) => {}
        }
    }
}

/// Whether the next leader, or the same one a moment later, may say something else.
fn may_pass(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::NoLeader
            | ErrorKind::NoQuorum
            | ErrorKind::TimedOut
            | ErrorKind::Stopped
            | ErrorKind::Unavailable
            | ErrorKind::Overloaded
    )
}

/// Once it may have been done, no later failure takes that back.
fn graver(before: Error, now: Error) -> Error {
    if before.executed() == Executed::Unknown { before } else { now }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_been_done_stays_so_whatever_fails_later() {
        let first = graver(Error::no_leader(), Error::timed_out());
        let then = graver(first, Error::no_quorum());
        assert_eq!(then.kind(), ErrorKind::TimedOut);
        assert_eq!(graver(Error::no_leader(), Error::no_quorum()).kind(), ErrorKind::NoQuorum);
    }
}
