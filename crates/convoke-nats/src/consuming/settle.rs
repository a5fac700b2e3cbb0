use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use convoke_core::Settled;
use tokio::sync::OwnedSemaphorePermit;

use super::Flight;
use crate::{link::Link, post::post, tally::Tally};

pub(super) const ACK: Bytes = Bytes::from_static(b"+ACK");
/// Not handled: deliver it again now.
pub(super) const NAK: Bytes = Bytes::from_static(b"-NAK");
/// Not for this node: the one it is for may be about to start.
pub(super) const NAK_PAUSE: Duration = Duration::from_secs(1);
/// So many deliveries follow each other at once; then each hand-back pauses twice as long as the one before. The
/// server counts them, and gives up at some number.
const AT_ONCE: i64 = 3;
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(30)];
/// Being handled: count the ack wait from now.
pub(super) const PROGRESS: Bytes = Bytes::from_static(b"+WPI");

/// How long a message that is handed back stays away.
pub(super) fn pause(deliveries: i64) -> Duration {
    let [first, longest] = PAUSES;
    let before = deliveries.saturating_sub(AT_ONCE + 1);
    match u32::try_from(before.min(16)) {
        Ok(doublings) => first.saturating_mul(1 << doublings).min(longest),
        Err(_) => Duration::ZERO, // it is negative
    }
}

/// Not handled: deliver it again after the pause.
pub(super) fn nak_after(pause: Duration) -> Bytes {
    if pause.is_zero() { NAK } else { format!(r#"-NAK {{"delay":{}}}"#, pause.as_nanos()).into() }
}

/// Ends one event.
#[derive(Debug)]
pub(super) struct Settle {
    pub(super) link: Arc<Link>,
    pub(super) tally: Arc<Tally>,
    pub(super) flight: Arc<Flight>,
    pub(super) acks: bool,
    pub(super) sequence: u64,
    /// Those behind it must not be handled before it.
    pub(super) in_order: bool,
    /// Its place among those in hand.
    pub(super) _place: Option<OwnedSemaphorePermit>,
}

impl Settle {
    pub(super) fn done(self, settled: Settled) {
        let counter = match settled {
            Settled::Done => &self.tally.finished,
            Settled::HandBack => &self.tally.handed_back,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if self.in_order && settled == Settled::HandBack {
            return self.flight.break_off(self.sequence);
        }
        self.answer(settled);
    }

    /// The node could not wait for it any longer.
    pub(super) fn cut(self) {
        if self.in_order {
            return self.flight.break_off(self.sequence);
        }
        self.answer(Settled::HandBack);
    }

    /// It is delivered again after the ack wait, not at once, because what went wrong may go wrong again.
    pub(super) fn failed(self, why: &str) {
        tracing::error!(sequence = self.sequence, why, "an event was not settled and is delivered again");
        if self.in_order {
            return self.flight.break_off(self.sequence);
        }
        self.flight.end(self.sequence);
    }

    fn answer(&self, settled: Settled) {
        if let Some(ack) = self.flight.end(self.sequence)
            && self.acks
        {
            let answer = match settled {
                Settled::Done => ACK,
                Settled::HandBack => nak_after(pause(ack.deliveries)),
            };
            drop(post(self.link.client(), &ack.subject, None, answer)); // one that is lost is a delivery more
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_back_often_stays_away_longer() {
        let millis: Vec<_> = (1..=8).map(|deliveries| pause(deliveries).as_millis()).collect();
        assert_eq!(millis, [0, 0, 0, 100, 200, 400, 800, 1600]);
        assert_eq!([pause(40), pause(i64::MAX)], [PAUSES[1]; 2]);
        assert_eq!(nak_after(Duration::ZERO), NAK);
        assert_eq!(nak_after(Duration::from_millis(100)), r#"-NAK {"delay":100000000}"#);
        let total: Duration = (1..30).map(pause).sum();
        assert!(total > Duration::from_mins(8), "time for who can handle it to start: {total:?}");
    }
}
