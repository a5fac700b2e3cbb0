use std::time::Duration;

use convoke_core::{Fence, NotLeader};
use openraft::{
    LinearizerOption,
    errors::{ClientWriteError, Fatal, ForwardReason, ForwardToLeader, LinearizableReadError, RaftError},
};
use tokio::time::{Instant, timeout_at};

use super::Node;
use crate::{
    Error, ErrorKind, StateMachine,
    engine::{
        calls::Reply,
        leading::safe,
        types::{Op, Origin, Proposal, Types},
    },
};

/// What the leader does, and only the leader.
impl<M: StateMachine> Node<M> {
    /// Whether one entry of the log takes it.
    pub(super) fn fits(&self, op: &Op) -> Result<(), Error> {
        let bytes = match op {
            Op::Tick => 0,
            Op::Machine(command) | Op::Lock(command) => command.len(),
        };
        let max = self.config.command_bytes_max;
        if bytes <= max { Ok(()) } else { Err(Error::too_large(bytes as u64, max as u64)) }
    }

    /// Appends it under this node's time and answers when it was applied here.
    pub(super) async fn propose_here(&self, origin: Option<Origin>, op: Op, deadline: Instant) -> Reply {
        if let Err(error) = self.fits(&op) {
            return failed(&error);
        }
        let proposal = Proposal { time_ms: (self.clock)(), origin, op };
        match timeout_at(deadline, self.raft.client_write(proposal)).await {
            Ok(Ok(written)) => Reply::Applied(written.data),
            Ok(Err(error)) => refused(error),
            Err(_) => failed(&Error::timed_out()),
        }
    }

    /// How far a copy must have applied for a read that begins now.
    pub(super) async fn read_index_here(&self, lease: bool, deadline: Instant) -> Reply {
        #[cfg(test)]
        if lease
            && self.leading().term_here().is_some()
            && crate::sim::planted::Planted::LeaseUnchecked.is_planted()
        {
            return Reply::ReadIndex(*self.applied.borrow());
        }
        if lease {
            let unexpired = LinearizerOption::new(Some(safe(self.lease_length())), false)
                .with_wait_timeout(Duration::ZERO);
            match self.raft.get_read_linearizer(unexpired).await {
                Ok(linearizer) => return Reply::ReadIndex(linearizer.read_log_id().index()),
                Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => {}
                Err(error) => return unread(error),
            }
        }
        let within = deadline.saturating_duration_since(Instant::now());
        let confirmed = LinearizerOption::new(Some(Duration::ZERO), true).with_wait_timeout(within);
        match timeout_at(deadline, self.raft.get_read_linearizer(confirmed)).await {
            Ok(Ok(linearizer)) => Reply::ReadIndex(linearizer.read_log_id().index()),
            Ok(Err(error)) => unread(error),
            Err(_) => failed(&Error::no_quorum()),
        }
    }

    /// How long what a majority said may be relied on.
    pub(crate) fn lease_length(&self) -> Duration {
        let longest = self.config.timing.lease();
        self.config.lease.map_or(longest, |lease| lease.min(longest))
    }

    /// Confirms that this node leads after the call was made, and that everything before is applied here.
    pub(crate) async fn confirm(&self, deadline: Instant) -> Result<Fence, NotLeader> {
        let lost = || NotLeader { leader: self.leader_info() };
        let term = self.leading().term_here().filter(|term| self.gate.is_open(*term)).ok_or_else(lost)?;
        let Reply::ReadIndex(index) = self.read_index_here(true, deadline).await else { return Err(lost()) };
        self.applied_to(index, deadline).await.map_err(|_| lost())?;
        // The answer is of this term only when it did not end meanwhile.
        let still = self.leading().term_here() == Some(term) && self.gate.is_open(term);
        if still { Ok(Fence { term, index }) } else { Err(lost()) }
    }
}

pub(super) fn failed(error: &Error) -> Reply {
    Reply::Failed { kind: error.kind(), message: error.to_string() }
}

fn elsewhere(forward: &ForwardToLeader<Types>) -> Reply {
    match forward.reason {
        // It still leads as far as it knows, and refuses what it could not finish.
        ForwardReason::LeaseExpired => failed(&Error::no_quorum()),
        _ => Reply::NotLeader(forward.leader_id),
    }
}

/// Other members may have what this one could not finish, so that it may have been done.
fn stopped(fatal: &Fatal<Types>) -> Reply {
    failed(&Error::new(ErrorKind::Stopped, format!("the engine of this node stopped: {fatal}")))
}

/// Why a proposal has no answer.
pub(super) fn refused(error: RaftError<Types, ClientWriteError<Types>>) -> Reply {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => elsewhere(&forward),
        // Whether the next leader has it is not known.
        RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)) => failed(&Error::timed_out()),
        RaftError::APIError(error) => failed(&Error::refused(error.to_string())),
        RaftError::Fatal(fatal) => stopped(&fatal),
    }
}

fn unread(error: RaftError<Types, LinearizableReadError<Types>>) -> Reply {
    match error {
        RaftError::APIError(LinearizableReadError::ForwardToLeader(forward)) => elsewhere(&forward),
        RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)) => failed(&Error::no_quorum()),
        RaftError::Fatal(fatal) => stopped(&fatal),
    }
}
