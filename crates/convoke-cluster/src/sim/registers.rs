//! What the nodes of a simulation replicate, and a witness of every command that is applied anywhere.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use convoke_testing::history::{Model, Register, RegisterAnswer, RegisterCall};
use imbl::OrdMap;
use serde::{Deserialize, Serialize};

use super::world::Life;
use crate::{At, Image, StateMachine, coding};

const IMAGE_BYTES_MAX: usize = 1024 * 1024;

/// A few registers of numbers.
#[derive(Debug)]
pub(super) struct Registers {
    held: OrdMap<u8, u64>,
    life: Life,
    witness: Arc<Witness>,
}

/// A change of one of them. Values are never written twice, so that whoever reads one knows who wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Change {
    Write(u64),
    Swap { from: Option<u64>, to: u64 },
}

impl Change {
    pub(super) fn call(self) -> RegisterCall {
        match self {
            Self::Write(value) => RegisterCall::Write(value),
            Self::Swap { from, to } => RegisterCall::Swap { from, to },
        }
    }

    fn value(self) -> u64 {
        let (Self::Write(value) | Self::Swap { to: value, .. }) = self;
        value
    }
}

impl Registers {
    pub(super) fn new(life: Life, witness: Arc<Witness>) -> Self {
        Self { held: OrdMap::new(), life, witness }
    }

    pub(super) fn get(&self, key: u8) -> Option<u64> {
        self.held.get(&key).copied()
    }
}

/// The command for one register.
pub(super) fn command(key: u8, change: Change) -> Bytes {
    coding::encode(&(key, change))
}

/// Whether it was done, in what [`StateMachine::apply`] answered.
pub(super) fn answer(answer: &[u8]) -> Option<RegisterAnswer> {
    let done = coding::decode::<bool>(answer)?;
    Some(if done { RegisterAnswer::Done } else { RegisterAnswer::Differs })
}

impl StateMachine for Registers {
    type Image = Picture;

    fn apply(&mut self, at: At, command: &[u8]) -> Bytes {
        let (key, change) = coding::decode::<(u8, Change)>(command).expect("nobody else writes commands");
        self.witness.saw(self.life.node, at.index, change.value());
        let before = self.get(key);
        let done = match change {
            Change::Write(_) => true,
            Change::Swap { from, .. } => from == before,
        };
        let after = Register.step(&before, &change.call(), None).expect("without an answer it always can");
        if let Some(value) = after {
            self.held.insert(key, value);
        }
        coding::encode(&done)
    }

    fn image(&self) -> Picture {
        Picture(self.held.clone())
    }

    fn restore(&mut self, image: &mut dyn Read) -> io::Result<()> {
        let held: Vec<(u8, u64)> = coding::read_record(image, IMAGE_BYTES_MAX)?;
        self.held = held.into_iter().collect();
        self.witness.restored(self.life);
        Ok(())
    }
}

#[derive(Debug)]
pub(super) struct Picture(OrdMap<u8, u64>);

impl Image for Picture {
    fn write(&self, to: &mut dyn io::Write) -> io::Result<()> {
        let held: Vec<(u8, u64)> = self.0.iter().map(|(key, value)| (*key, *value)).collect();
        coding::write_record(to, &held)
    }
}

/// Sees every command that any node applies.
#[derive(Debug, Default)]
pub(super) struct Witness {
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// What was applied at each place, and where first.
    at: BTreeMap<u64, (u64, u64)>,
    /// Where each value was applied.
    places: BTreeMap<u64, u64>,
    complaints: Vec<String>,
    /// Snapshots that nodes got from others in their first life.
    received: u64,
}

impl Witness {
    fn saw(&self, node: u64, index: u64, value: u64) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (first, by) = *seen.at.entry(index).or_insert((value, node));
        if first != value {
            let complaint = format!("entry {index} is {first} on node {by} and {value} on node {node}");
            seen.complaints.push(complaint);
        }
        let place = *seen.places.entry(value).or_insert(index);
        if place != index {
            seen.complaints.push(format!("{value} was applied at entry {place} and again at {index}"));
        }
    }

    /// The state of this node comes from a snapshot: in its first life from another node's.
    fn restored(&self, life: Life) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.received += u64::from(life.nth == 1);
    }

    pub(super) fn received(&self) -> u64 {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).received
    }

    /// What nodes disagree about, and what was applied twice.
    pub(super) fn complaints(&self) -> Vec<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).complaints.clone()
    }
}
