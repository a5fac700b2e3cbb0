//! What happened, as one number: two runs of one seed have the same.

use std::fmt;

use tokio::time::Instant;

/// One event, with when it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Event {
    at_ms: u64,
    what: &'static str,
    who: [u64; 3],
}

impl Event {
    /// Bytes that arrived: most of what happens.
    pub(super) fn is_traffic(&self) -> bool {
        self.what == "bytes"
    }
}

/// All events of a run.
#[derive(Debug)]
pub(super) struct Trace {
    start: Instant,
    events: Vec<Event>,
}

impl Trace {
    pub(super) fn start() -> Self {
        Self { start: Instant::now(), events: Vec::new() }
    }

    pub(super) fn add(&mut self, what: &'static str, who: [u64; 3]) {
        let at_ms = u64::try_from(self.start.elapsed().as_millis()).expect("a run is short");
        self.events.push(Event { at_ms, what, who });
    }

    /// All of them, by time. What happens in the same moment has no order: nothing follows from it.
    pub(super) fn events(&self) -> Vec<Event> {
        let mut events = self.events.clone();
        events.sort_unstable();
        events
    }

    /// A number for all of them.
    pub(super) fn hash(&self) -> u64 {
        let mix = |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
        self.events().iter().fold(0xcbf2_9ce4_8422_2325, |hash, event| {
            let what = event.what.bytes().fold(event.at_ms, |hash, byte| mix(hash, u64::from(byte)));
            event.who.iter().fold(mix(hash, what), |hash, who| mix(hash, *who))
        })
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>6} ms  {} {:?}", self.at_ms, self.what, self.who)
    }
}
