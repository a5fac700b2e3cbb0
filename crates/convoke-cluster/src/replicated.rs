use std::{
    io::{self, Read, Write},
    sync::{Arc, RwLock},
};

use bytes::Bytes;

use crate::{
    At, Image, StateMachine,
    engine::types::{Applied, Op, Proposal},
};

/// The copy of a node, written by the engine and read by its clients.
pub(crate) type Shared<M> = Arc<RwLock<System<M>>>;

/// Everything the members of a cluster keep a copy of.
#[derive(Debug)]
pub(crate) struct System<M> {
    time_ms: u64,
    machine: M,
}

impl<M: StateMachine> System<M> {
    pub(crate) fn new(machine: M) -> Self {
        Self { time_ms: 0, machine }
    }

    pub(crate) fn machine(&self) -> &M {
        &self.machine
    }

    pub(crate) fn apply(&mut self, index: u64, term: u64, proposal: Proposal) -> Applied {
        self.time_ms = self.time_ms.max(proposal.time_ms);
        let at = At { index, term, time_ms: self.time_ms };
        let answer = match &proposal.op {
            Op::Machine(command) => self.machine.apply(at, command),
            Op::Tick | Op::Lock(_) => Bytes::new(),
        };
        Applied { index, term, answer, forgotten: false }
    }

    pub(crate) fn image(&self) -> SystemImage<M::Image> {
        SystemImage { time_ms: self.time_ms, machine: self.machine.image() }
    }

    pub(crate) fn restore(&mut self, from: &mut dyn Read) -> io::Result<()> {
        let mut time = [0; 8];
        from.read_exact(&mut time)?;
        self.time_ms = u64::from_le_bytes(time);
        self.machine.restore(from)
    }
}

/// The state between two entries of the log. Shares everything with the state that goes on.
#[derive(Debug)]
pub(crate) struct SystemImage<I> {
    time_ms: u64,
    machine: I,
}

impl<I: Image> SystemImage<I> {
    pub(crate) fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        to.write_all(&self.time_ms.to_le_bytes())?;
        self.machine.write(to)
    }
}
