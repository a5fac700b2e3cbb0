use bytes::Bytes;
use serde_json::json;
use std::time::Duration;

/// How long the server keeps a request for events.
const EXPIRES: Duration = Duration::from_secs(30);
/// How often it says that it is there while it has nothing.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(2);
/// Most events asked for at once: what lies in our buffers is lost time for others when we leave.
const BATCH_MAX: usize = 256;
/// Most bytes that one request may bring, or twice the largest event.
const BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Decides when to ask for more events, and for how many.
#[derive(Debug, Default)]
pub(super) struct Pull {
    outstanding: usize,
}

impl Pull {
    /// How many to ask for now, when at most `in_flight_max` may be in flight or on their way.
    pub(super) fn wanted(&mut self, in_flight: usize, in_flight_max: usize) -> Option<usize> {
        let free = in_flight_max.saturating_sub(in_flight + self.outstanding).min(BATCH_MAX);
        // few large requests cost the server less than many small ones
        let low = self.outstanding <= in_flight_max.min(BATCH_MAX) / 2;
        let worth_it = self.outstanding == 0 || free >= in_flight_max.min(BATCH_MAX) / 4;
        (free > 0 && low && worth_it).then(|| {
            self.outstanding += free;
            free
        })
    }
    pub(super) fn arrived(&mut self) {
        self.outstanding = self.outstanding.saturating_sub(1);
    }
    /// A request ended with so many events unsent; without a number, all of them.
    pub(super) fn ended(&mut self, unsent: Option<usize>) {
        self.outstanding = self.outstanding.saturating_sub(unsent.unwrap_or(usize::MAX));
    }
    pub(super) fn outstanding(&self) -> usize {
        self.outstanding
    }
}

pub(super) fn request(events: usize, event_bytes_max: u32) -> Bytes {
    let bytes = BYTES_MAX.max(2 * u64::from(event_bytes_max));
    let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    json!({"batch": events, "max_bytes": bytes, "expires": nanos(EXPIRES), "idle_heartbeat": nanos(HEARTBEAT)}).to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_more_are_asked_for_than_may_be_in_flight() {
        let mut pull = Pull::default();
        assert_eq!(pull.wanted(0, 64), Some(64));
        assert_eq!(pull.wanted(0, 64), None);
        (0..40).for_each(|_| pull.arrived());
        assert_eq!(pull.wanted(40, 64), None, "40 in flight and 24 on their way");
        assert_eq!(pull.wanted(20, 64), Some(20));
        assert_eq!(pull.outstanding(), 44);
    }

    #[test]
    fn a_single_slot_is_used_and_an_ended_request_is_made_again() {
        let mut pull = Pull::default();
        assert_eq!(pull.wanted(0, 1), Some(1));
        pull.ended(None);
        assert_eq!(pull.wanted(0, 1), Some(1));
        assert_eq!(pull.wanted(1, 1), None);
    }

    #[test]
    fn a_large_bound_is_asked_for_in_batches() {
        let mut pull = Pull::default();
        assert_eq!(pull.wanted(0, 10_000), Some(BATCH_MAX));
        assert_eq!(pull.wanted(0, 10_000), None);
    }
}
