use std::collections::{HashMap, VecDeque};

use convoke_core::LANE_UNKEYED;
use uuid::Uuid;

/// Messages whose lane is remembered: as many as the in-process bus keeps.
const KNOWN_MAX: usize = 65_536;

/// The lane of messages without one that is known: they keep their order.
const UNKNOWN: u8 = u8::MAX;

/// Which lane each message went on: what arrives does not tell.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    known: HashMap<Uuid, u8>,
    order: VecDeque<Uuid>,
}

impl Lanes {
    pub(super) fn remember(&mut self, id: Uuid, lane: u8) {
        if self.known.insert(id, lane).is_some() {
            return;
        }
        self.order.push_back(id);
        if self.order.len() > KNOWN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    /// The lane in which the message keeps its order. `None`: it has no key.
    pub(super) fn of(&self, id: Uuid) -> Option<u8> {
        let lane = self.known.get(&id).copied().unwrap_or(UNKNOWN);
        (lane != LANE_UNKEYED).then_some(lane)
    }
}
