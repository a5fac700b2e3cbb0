use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;
use convoke_core::Settled;
use tokio::sync::OwnedSemaphorePermit;

use super::Flight;
use crate::{link::Link, post::post, tally::Tally};

pub(super) const ACK: Bytes = Bytes::from_static(b"+ACK");
/// Not handled: deliver it again now.
pub(super) const NAK: Bytes = Bytes::from_static(b"-NAK");
/// Not for this node: deliver it again after a second, for the one it is for may be about to start.
pub(super) const NAK_LATER: Bytes = Bytes::from_static(br#"-NAK {"delay":1000000000}"#);
/// Being handled: count the ack wait from now.
pub(super) const PROGRESS: Bytes = Bytes::from_static(b"+WPI");

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
        let (counter, answer) = match settled {
            Settled::Done => (&self.tally.finished, ACK),
            Settled::HandBack => (&self.tally.handed_back, NAK),
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if self.in_order && settled == Settled::HandBack {
            return self.flight.break_off(self.sequence);
        }
        self.answer(answer);
    }

    /// The node could not wait for it any longer.
    pub(super) fn cut(self) {
        if self.in_order {
            return self.flight.break_off(self.sequence);
        }
        self.answer(NAK);
    }

    /// It is delivered again after the ack wait, not at once, because what went wrong may go wrong again.
    pub(super) fn failed(self, why: &str) {
        tracing::error!(sequence = self.sequence, why, "an event was not settled and is delivered again");
        if self.in_order {
            return self.flight.break_off(self.sequence);
        }
        self.flight.end(self.sequence);
    }

    fn answer(&self, answer: Bytes) {
        if let Some(ack) = self.flight.end(self.sequence)
            && self.acks
        {
            drop(post(self.link.client(), &ack, None, answer)); // one that is lost is a delivery more
        }
    }
}
