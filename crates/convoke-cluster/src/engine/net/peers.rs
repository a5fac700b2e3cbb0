use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::dial::{Callee, Caller, Dial};
use super::lane::Lane;
use crate::NodeId;

/// Connections that are remembered. Beyond it, those are forgotten that nobody holds and that are not up: of members
/// that were removed, or that moved.
const DIALS_MAX: usize = 256;

/// The connections to other members, each made once and shared by everything that needs it.
pub(crate) struct Peers {
    caller: Arc<Caller>,
    dials: Mutex<BTreeMap<Callee, Dial>>,
}

impl Peers {
    pub(crate) fn new(caller: Caller) -> Self {
        Self { caller: Arc::new(caller), dials: Mutex::default() }
    }

    pub(crate) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The connection to the one at `at`, whether it is up or not.
    pub(crate) fn dial(&self, id: Option<NodeId>, at: &str, lane: Lane) -> Dial {
        let callee = Callee { id, at: at.into(), lane };
        let mut dials = self.dials();
        if let Some(dial) = dials.get(&callee) {
            return dial.clone();
        }
        if dials.len() >= DIALS_MAX {
            dials.retain(|_, dial| dial.is_used());
        }
        let dial = Dial::new(Arc::clone(&self.caller), callee.clone());
        dials.insert(callee, dial.clone());
        dial
    }

    /// This member called us, so it can probably be called.
    pub(crate) fn heard(&self, id: NodeId) {
        for dial in self.dials().values().filter(|dial| dial.callee().id == Some(id)) {
            dial.peer_was_heard();
        }
    }

    /// How often a connection to anybody was tried.
    #[cfg(test)]
    pub(crate) fn attempts(&self) -> u64 {
        self.dials().values().map(Dial::attempts).sum()
    }

    fn dials(&self) -> MutexGuard<'_, BTreeMap<Callee, Dial>> {
        // An insertion or a removal under this lock is whole or was not made.
        self.dials.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Peers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.dials().values()).finish()
    }
}
