use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    sync::{Arc, RwLock},
};

use bytes::Bytes;

use crate::engine::runtime::watch;
use crate::{
    At, Image, StateMachine,
    engine::{replica::Replica, snapshot::Snapshots},
    replicated::{Shared, System},
};

/// Remembers every command by its place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Notes(pub(super) BTreeMap<u64, Bytes>);

/// A command at which [`Notes`] panics.
pub(super) const PANIC: &[u8] = b"panic";

impl StateMachine for Notes {
    type Image = Self;

    fn apply(&mut self, at: At, command: &[u8]) -> Bytes {
        assert!(command != PANIC, "as the test asks");
        let command = Bytes::copy_from_slice(command);
        self.0.insert(at.index, command.clone());
        command
    }

    fn image(&self) -> Self {
        self.clone()
    }

    fn restore(&mut self, image: &mut dyn Read) -> io::Result<()> {
        let mut bytes = Vec::new();
        image.read_to_end(&mut bytes)?;
        self.0 = postcard::from_bytes(&bytes).map_err(io::Error::other)?;
        Ok(())
    }
}

impl Image for Notes {
    fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        to.write_all(&postcard::to_allocvec(&self.0).map_err(io::Error::other)?)
    }
}

/// A copy, and the state it writes to.
pub(super) fn replica(snapshots: Snapshots) -> (Replica<Notes>, Shared<Notes>) {
    let system = Arc::new(RwLock::new(System::new(Notes::default())));
    (Replica::new(system.clone(), snapshots, watch::Sender::new(0)), system)
}
