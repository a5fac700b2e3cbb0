mod clock;

use std::{
    io::{self, Read, Write},
    sync::{Arc, RwLock},
};

use bytes::Bytes;
use clock::Clock;

use crate::{
    At, Image, StateMachine, coding,
    engine::types::{Applied, Op, Origin, Proposal},
    locks::table::Table,
    sessions::{Seen, Sessions},
};

/// The version of an image of the whole.
const IMAGE_VERSION: u8 = 1;

/// The copy of a node, written by the engine and read by its clients.
pub(crate) type Shared<M> = Arc<RwLock<System<M>>>;

/// Everything the members of a cluster keep a copy of: the application's machine, and around it the clock, the locks
/// and who was answered what.
#[derive(Debug)]
pub(crate) struct System<M> {
    clock: Clock,
    sessions: Sessions,
    locks: Table,
    machine: M,
}

impl<M: StateMachine> System<M> {
    pub(crate) fn new(machine: M) -> Self {
        Self { clock: Clock::default(), sessions: Sessions::default(), locks: Table::default(), machine }
    }

    pub(crate) fn machine(&self) -> &M {
        &self.machine
    }

    pub(crate) fn locks(&self) -> &Table {
        &self.locks
    }

    /// As [`At::steady_ms`] of what was applied last.
    pub(crate) fn steady_ms(&self) -> u64 {
        self.clock.steady_ms
    }

    /// Applies what stands in the log at `index`, unless it was applied before: then its first answer is told again.
    pub(crate) fn apply(&mut self, index: u64, term: u64, proposal: Proposal) -> Applied {
        self.clock.advance(term, proposal.time_ms);
        let Clock { time_ms, steady_ms, .. } = self.clock;
        let at = At { index, term, time_ms, steady_ms };
        match proposal.origin {
            None => Applied { index, term, answer: self.run(at, &proposal.op), forgotten: false },
            Some(origin) => self.apply_once(at, &origin, &proposal.op),
        }
    }

    fn apply_once(&mut self, at: At, origin: &Origin, op: &Op) -> Applied {
        let At { index, term, .. } = at;
        #[cfg(test)]
        if crate::sim::planted::Planted::NoDedup.is_planted() {
            return Applied { index, term, answer: self.run(at, op), forgotten: false };
        }
        match self.sessions.seen(origin) {
            Seen::Before(applied) => applied,
            Seen::TooOld => Applied { index, term, answer: Bytes::new(), forgotten: true },
            Seen::Never => {
                let applied = Applied { index, term, answer: self.run(at, op), forgotten: false };
                self.sessions.keep(origin, &applied);
                applied
            }
        }
    }

    fn run(&mut self, at: At, op: &Op) -> Bytes {
        match op {
            Op::Tick => {
                self.locks.tick(at);
                self.machine.tick(at);
                Bytes::new()
            }
            Op::Machine(command) => self.machine.apply(at, command),
            Op::Lock(command) => self.locks.apply(at, command),
        }
    }

    /// When the leader of this term should let a tick come, on its own clock: the earliest lease or lifetime that it
    /// would end.
    pub(crate) fn next_expiry_ms(&self, term: u64) -> Option<u64> {
        let first = [self.locks.next_expiry_ms(), self.machine.next_expiry_ms()].into_iter().flatten().min();
        first.map(|steady_ms| self.clock.shown_at(term, steady_ms))
    }

    /// A picture of all of it, to be written elsewhere.
    pub(crate) fn image(&self) -> SystemImage<M::Image> {
        SystemImage {
            clock: self.clock,
            sessions: self.sessions.clone(),
            locks: self.locks.clone(),
            machine: self.machine.image(),
        }
    }

    /// A state to restore into while this one is read, when the machine has one.
    pub(crate) fn aside(&self) -> Option<Self> {
        self.machine.aside().map(Self::new)
    }

    /// Becomes what was written. After an error the state is unknown: the node must not go on with it.
    pub(crate) fn restore(&mut self, from: &mut dyn Read) -> io::Result<()> {
        coding::read_version(from, "an image of the cluster's state", IMAGE_VERSION)?;
        let clock = Clock::read(from)?;
        let sessions = Sessions::read(from)?;
        let locks = Table::read(from)?;
        self.machine.restore(from)?;
        (self.clock, self.sessions, self.locks) = (clock, sessions, locks);
        Ok(())
    }
}

/// The state between two entries of the log. Shares everything with the state that goes on.
#[derive(Debug)]
pub(crate) struct SystemImage<I> {
    clock: Clock,
    sessions: Sessions,
    locks: Table,
    machine: I,
}

impl<I: Image> SystemImage<I> {
    /// Many small writes: give it a buffer.
    pub(crate) fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        coding::write_version(to, IMAGE_VERSION)?;
        self.clock.write(to)?;
        self.sessions.write(to)?;
        self.locks.write(to)?;
        self.machine.write(to)
    }
}

#[cfg(test)]
mod tests;
