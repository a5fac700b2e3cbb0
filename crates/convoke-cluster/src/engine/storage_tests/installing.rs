//! What readers see while a snapshot is installed.

use std::{
    io::{self, Read, Write},
    sync::{Arc, Mutex, RwLock, mpsc},
    time::Duration,
};

use bytes::Bytes;
use openraft::{RaftSnapshotBuilder, storage::RaftStateMachine};

use crate::{
    At, Image, StateMachine,
    engine::{replica::Replica, snapshot::Snapshots},
    replicated::{Shared, System},
};

/// Longer than the test takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A number, which a snapshot brings only when it may.
#[derive(Debug, Clone)]
struct Patient {
    number: u8,
    /// Told when a restoration has begun, and asked whether it may end.
    begun: mpsc::Sender<()>,
    may_end: Arc<Mutex<mpsc::Receiver<()>>>,
}

impl StateMachine for Patient {
    type Image = Number;

    fn apply(&mut self, _: At, _: &[u8]) -> Bytes {
        Bytes::new()
    }

    fn image(&self) -> Number {
        Number(self.number)
    }

    fn aside(&self) -> Option<Self> {
        Some(self.clone())
    }

    fn restore(&mut self, image: &mut dyn Read) -> io::Result<()> {
        self.begun.send(()).map_err(io::Error::other)?;
        let may_end = self.may_end.lock().expect("nobody panicked");
        may_end.recv_timeout(PATIENCE).map_err(io::Error::other)?;
        let mut number = [0];
        image.read_exact(&mut number)?;
        self.number = number[0];
        Ok(())
    }
}

#[derive(Debug)]
struct Number(u8);

impl Image for Number {
    fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        to.write_all(&[self.0])
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_is_read_as_it_was_while_a_snapshot_is_installed() {
    let (begun, begins) = mpsc::channel();
    let (end, may_end) = mpsc::channel();
    let may_end = Arc::new(Mutex::new(may_end));
    let folder = tempfile::tempdir().expect("a directory");
    let snapshots = Snapshots::open(folder.path()).expect("it is empty");
    let start = |number| -> (Replica<Patient>, Shared<Patient>) {
        let machine = Patient { number, begun: begun.clone(), may_end: Arc::clone(&may_end) };
        let system = Arc::new(RwLock::new(System::new(machine)));
        (
            Replica::new(
                Arc::clone(&system),
                snapshots.clone(),
                crate::engine::runtime::watch::Sender::new(0),
            ),
            system,
        )
    };
    let (mut sender, _) = start(7);
    let built = sender.get_snapshot_builder().await.build_snapshot().await.expect("it can be built");
    let (mut receiver, state) = start(1);
    let installed = tokio::spawn(async move { receiver.install_snapshot(&built.meta, built.snapshot).await });
    tokio::task::spawn_blocking(move || begins.recv_timeout(PATIENCE).expect("it begins")).await.expect("so");
    let number = |state: &Shared<Patient>| state.try_read().ok().map(|state| state.machine().number);
    let meanwhile = number(&state);
    end.send(()).expect("it waits");
    installed.await.expect("no panic").expect("it is installed");
    assert_eq!((meanwhile, number(&state)), (Some(1), Some(7)));
    assert_eq!(snapshots.metrics().installed, 1);
}
