/// Before what an acknowledgement's subject tells of the delivery.
const PREFIX: &str = "$JS.ACK.";
/// Stream, consumer, deliveries, place in the stream, place in the consumer, time, waiting.
const TOKENS: usize = 7;
/// The domain and the account, which newer servers put before it. What comes behind it is for them.
const TOKENS_OF_THE_ACCOUNT: usize = 2;

/// What the subject of an acknowledgement tells (ADR-15 of the NATS architecture). Read here, because `async-nats`
/// makes dates of it and reads what is not needed, at every event.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Delivery {
    /// The place in the stream.
    pub(super) sequence: u64,
    /// How often the message was delivered, this time included.
    pub(super) deliveries: i64,
    /// Messages that wait for the consumer behind it.
    pub(super) waiting: u64,
}

impl Delivery {
    /// `None` when no stream delivered the message.
    pub(super) fn read(ack: &str) -> Option<Self> {
        const ALL: usize = TOKENS_OF_THE_ACCOUNT + TOKENS;
        let mut tokens = [""; ALL];
        let mut count = 0;
        for (token, place) in ack.strip_prefix(PREFIX)?.split('.').zip(&mut tokens) {
            *place = token;
            count += 1;
        }
        let from = if count == ALL { TOKENS_OF_THE_ACCOUNT } else { 0 };
        let [_, _, deliveries, sequence, _, _, waiting] = *tokens[from..].first_chunk::<TOKENS>()?;
        Some(Self {
            sequence: sequence.parse().ok()?,
            deliveries: deliveries.parse().ok()?,
            waiting: waiting.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_what_comes_behind_is_left_alone() {
        let expected = Some(Delivery { sequence: 17, deliveries: 3, waiting: 5 });
        let short = "$JS.ACK.EVENTS.orders__n1.3.17.9.1700000000000000000.5";
        let long = "$JS.ACK.hub.ACCHASH.EVENTS.orders__n1.3.17.9.1700000000000000000.5";
        for ack in [short, long, &format!("{long}.random"), &format!("{long}.random.more")] {
            assert_eq!(Delivery::read(ack), expected, "{ack}");
        }
    }

    #[test]
    fn what_is_not_one_is_none() {
        let others = [
            "",
            "$JS.ACK.",
            "_INBOX.a.b",
            "$JS.ACK.EVENTS.orders__n1.3.17.9.1700000000000000000",
            "$JS.ACK.EVENTS.orders__n1.x.17.9.1700000000000000000.5",
            "$JS.ACK.EVENTS.orders__n1.3.-17.9.1700000000000000000.5",
            "$JS.ACK.EVENTS.orders__n1.3.17.9.1700000000000000000.99999999999999999999",
        ];
        for ack in others {
            assert_eq!(Delivery::read(ack), None, "{ack}");
        }
    }
}
