use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::handshake::Hello;
use super::lane::Lane;
use crate::NodeId;

/// The members' open connections. Each member has one for each purpose: with a new one it has given up the one
/// before, which may be a dead end that nobody has noticed.
#[derive(Debug)]
pub(super) struct Seats {
    seats_max: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    seats: HashMap<u64, Held>,
}

#[derive(Debug)]
struct Held {
    whose: Option<(NodeId, Lane)>,
    /// Dropped with the entry, which is how its holder hears that the seat is lost.
    _lost: watch::Sender<()>,
}

impl Seats {
    pub(super) fn new(seats_max: usize) -> Self {
        Self { seats_max, taken: Mutex::default() }
    }

    /// Whether there is room for nobody else.
    pub(super) fn are_taken(&self) -> bool {
        self.taken().seats.len() >= self.seats_max
    }

    /// Takes a seat from whoever has it, until it is dropped.
    pub(super) fn take(self: &Arc<Self>, hello: &Hello) -> Seat {
        let whose = hello.from.map(|id| (id, hello.lane));
        let mut taken = self.taken();
        taken.seats.retain(|_, held| whose.is_none() || held.whose != whose);
        taken.next += 1;
        let number = taken.next;
        let (sender, lost) = watch::channel(());
        taken.seats.insert(number, Held { whose, _lost: sender });
        Seat { number, lost, seats: Arc::clone(self) }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // Nothing that is done under this lock leaves the table half changed.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
pub(super) struct Seat {
    number: u64,
    lost: watch::Receiver<()>,
    seats: Arc<Seats>,
}

impl Seat {
    /// Returns when somebody else has taken it.
    pub(super) async fn lost(&self) {
        let mut lost = self.lost.clone();
        while lost.changed().await.is_ok() {}
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.taken().seats.remove(&self.number);
    }
}
