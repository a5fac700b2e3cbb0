//! The machines that nodes run on, one node each.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    clients::Books,
    host::{Common, Host, Seat, Skew, address},
};

pub(super) struct Machines {
    common: Arc<Common>,
    books: Arc<Books>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    seats: BTreeMap<u64, Seat>,
    /// Writes that machines lost which are gone.
    lost: u64,
}

impl Machines {
    pub(super) fn new(common: Arc<Common>, books: Arc<Books>) -> Self {
        Self { common, books, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is one more machine, with nothing on its disk.
    pub(super) fn add(&self, machine: u64, name: String, skew: Skew) {
        let seat = Seat::new(&self.common, machine, name, skew);
        self.state().seats.insert(machine, seat);
    }

    /// Starts every node that does not run.
    pub(super) fn start_all(&self) {
        for machine in self.all() {
            if !self.books.hosts().contains_key(&machine) {
                self.start(machine);
            }
        }
    }

    pub(super) fn start(&self, machine: u64) {
        let mut state = self.state();
        let others: Vec<String> =
            state.seats.keys().filter(|other| **other != machine).map(|other| address(*other)).collect();
        let seat = state.seats.get_mut(&machine).expect("each node has a seat");
        let host = Host::start(&self.common, seat, &others);
        self.books.hosts().insert(machine, Arc::new(host));
    }

    pub(super) fn crash(&self, machine: u64) {
        let host = self.books.hosts().remove(&machine);
        if let Some(host) = host {
            if let Some(seat) = self.state().seats.get_mut(&machine) {
                seat.remember(host.cluster.node_id());
            }
            host.crash(&self.common.world);
        }
    }

    /// The machine is gone for good.
    pub(super) fn retire(&self, machine: u64) {
        self.crash(machine);
        let mut state = self.state();
        if let Some(seat) = state.seats.remove(&machine) {
            state.lost += seat.disk.lost();
        }
    }

    pub(super) fn all(&self) -> Vec<u64> {
        self.state().seats.keys().copied().collect()
    }

    pub(super) fn up(&self) -> Vec<u64> {
        self.books.hosts().keys().copied().collect()
    }

    /// Who leads, as it thinks itself.
    pub(super) fn leader(&self) -> Option<(u64, Arc<Host>)> {
        let hosts = self.books.hosts();
        let term = |host: &Host| host.cluster.leadership().borrow().term();
        let leading = hosts.iter().filter_map(|(machine, host)| Some((term(host)?, machine, host)));
        leading.max_by_key(|(term, ..)| *term).map(|(_, machine, host)| (*machine, Arc::clone(host)))
    }

    /// A sync takes so long there from now on, and a bit.
    pub(super) fn slow_disk(&self, machine: u64, least_ms: u64) {
        if let Some(seat) = self.state().seats.get(&machine) {
            seat.disk.slow(least_ms);
        }
    }

    pub(super) fn slow_disks(&self, least_ms: u64) {
        self.state().seats.values().for_each(|seat| seat.disk.slow(least_ms));
    }

    /// Writes that crashes lost.
    pub(super) fn lost_writes(&self) -> u64 {
        let state = self.state();
        state.lost + state.seats.values().map(|seat| seat.disk.lost()).sum::<u64>()
    }
}
