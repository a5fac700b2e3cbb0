use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use uuid::Uuid;

use super::{
    Faults,
    dice::Dice,
    fate::{Fate, How, Loss},
    lanes::Lanes,
};
use crate::outside::{CrashPoint, Side};

/// How long a delivery that is to be overtaken is held back at most.
const OVERTAKEN_WITHIN: Duration = Duration::from_millis(50);

/// Faults at work: what comes next, and what there was.
#[derive(Debug)]
pub(crate) struct Plan {
    faults: Faults,
    drawn: Mutex<HashMap<String, u64>>,
    made: Mutex<Vec<String>>,
    lanes: Mutex<Lanes>,
    in_transit: Arc<AtomicUsize>,
}

/// What happens to one delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Arrival {
    pub(super) hold: Duration,
    pub(super) again: Option<Again>,
}

/// When a delivery comes a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    AtOnce,
    WhenSettled,
}

/// A call that is under way; its drop is its end.
#[derive(Debug)]
pub(crate) struct InTransit(Arc<AtomicUsize>);

impl Drop for InTransit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Plan {
    pub(crate) fn new(faults: Faults) -> Arc<Self> {
        let (drawn, made, lanes) = (Mutex::default(), Mutex::default(), Mutex::default());
        Arc::new(Self { faults, drawn, made, lanes, in_transit: Arc::default() })
    }

    pub(crate) fn seed(&self) -> u64 {
        self.faults.seed
    }

    pub(crate) fn crash_points(&self) -> &[CrashPoint] {
        &self.faults.crash_points
    }

    pub(crate) fn keeps_keys(&self) -> bool {
        !self.faults.reorder_within_keys
    }

    /// What went wrong so far, in order.
    pub(crate) fn made(&self) -> Vec<String> {
        lock(&self.made).clone()
    }

    /// A call is under way: an app that waits for it is not at rest.
    pub(crate) fn enter(&self) -> InTransit {
        self.in_transit.fetch_add(1, Ordering::SeqCst);
        InTransit(self.in_transit.clone())
    }

    pub(crate) fn is_at_rest(&self) -> bool {
        self.in_transit.load(Ordering::SeqCst) == 0
    }

    pub(crate) fn remember_lane(&self, id: Uuid, lane: u8) {
        lock(&self.lanes).remember(id, lane);
    }

    pub(super) fn lane(&self, id: Uuid) -> Option<u8> {
        lock(&self.lanes).of(id)
    }

    /// What happens to a call.
    pub(crate) fn fate(&self, call: &str) -> Fate {
        let (mut dice, nth) = self.draw(call);
        let mut fate = Fate::default();
        if dice.falls(self.faults.delay) {
            fate.delay = dice.time(self.faults.delay_max);
        }
        if dice.falls(self.faults.drop) {
            fate.loss = Some(match dice.pick(5) {
                0 => Loss::Message(How::Silence),
                1 => Loss::Message(How::Break),
                2 => Loss::Message(How::Away),
                3 => Loss::Answer(How::Silence),
                _ => Loss::Answer(How::Break),
            });
        }
        self.unless_enough(fate, || format!("{call} #{nth}: {fate}"))
    }

    /// Whether the node dies at a call.
    pub(crate) fn crashes(&self, call: &str) -> Option<Side> {
        if self.faults.crash == 0.0 {
            return None;
        }
        let (mut dice, nth) = self.draw(&format!("crash at {call}"));
        let side =
            dice.falls(self.faults.crash).then(|| if dice.pick(2) == 0 { Side::Before } else { Side::After });
        self.unless_enough(side, || format!("{call} #{nth}: the node dies {side:?} it"))
    }

    /// What happens to a delivery.
    pub(super) fn arrival(&self, name: &str) -> Arrival {
        let (mut dice, nth) = self.draw(&format!("delivery of {name}"));
        let mut arrival = Arrival::default();
        if dice.falls(self.faults.delay) {
            arrival.hold = dice.time(self.faults.delay_max);
        }
        if dice.falls(self.faults.reorder) {
            arrival.hold += dice.time(OVERTAKEN_WITHIN);
        }
        if dice.falls(self.faults.duplicate) {
            arrival.again = Some(if dice.pick(2) == 0 { Again::AtOnce } else { Again::WhenSettled });
        }
        self.unless_enough(arrival, || {
            let again = arrival.again.map_or(String::new(), |again| format!(", comes again {again:?}"));
            format!("delivery of {name} #{nth}: held back {:?}{again}", arrival.hold)
        })
    }

    fn draw(&self, kind: &str) -> (Dice, u64) {
        let mut drawn = lock(&self.drawn);
        let nth = drawn.entry(kind.to_owned()).or_default();
        *nth += 1;
        (Dice::of(self.faults.seed, kind, *nth), *nth)
    }

    /// A fault, written down, or none when there were enough.
    fn unless_enough<T: Default + PartialEq>(&self, fault: T, line: impl FnOnce() -> String) -> T {
        let mut made = lock(&self.made);
        if fault == T::default() || made.len() >= self.faults.at_most {
            return T::default();
        }
        made.push(line());
        fault
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
