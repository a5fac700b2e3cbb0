/// Notices when everything that was stored at the start has been handled.
///
/// Events that are delivered again because another run of the node left them are not waited for.
#[derive(Debug, Default)]
pub(super) enum CaughtUp {
    /// Not attached yet.
    #[default]
    Unknown,
    /// Events up to this one were stored.
    Until(u64),
    /// The last of them was handed over; those up to this one may be in flight.
    Settling(u64),
    /// Told.
    Done,
}

impl CaughtUp {
    /// Attached: what waits, and the last event in the stream.
    pub(super) fn attached(&mut self, waiting: u64, last: u64) {
        match self {
            Self::Unknown if waiting == 0 => *self = Self::Settling(0),
            Self::Unknown => *self = Self::Until(last),
            _ => {}
        }
    }
    /// An event was handed over; so many wait behind it.
    pub(super) fn handed_over(&mut self, sequence: u64, waiting: u64) {
        if let Self::Until(last) = *self
            && (waiting == 0 || sequence >= last)
        {
            *self = Self::Settling(sequence);
        }
    }
    /// The server has nothing more for us.
    pub(super) fn nothing_waits(&mut self) {
        if let Self::Until(last) = *self {
            *self = Self::Settling(last);
        }
    }
    /// Whether to tell, once. `oldest` is the first event in flight.
    pub(super) fn tell(&mut self, oldest: Option<u64>) -> bool {
        match *self {
            Self::Settling(last) if oldest.is_none_or(|oldest| oldest > last) => {
                *self = Self::Done;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tells_once_when_all_that_was_stored_has_settled() {
        let mut caught_up = CaughtUp::default();
        assert!(!caught_up.tell(None));
        caught_up.attached(3, 30);
        caught_up.handed_over(10, 2);
        caught_up.handed_over(20, 1);
        assert!(!caught_up.tell(None), "one is to come");
        caught_up.handed_over(30, 0);
        assert!(!caught_up.tell(Some(20)), "two are in flight");
        assert!(caught_up.tell(Some(31)));
        assert!(!caught_up.tell(None), "told already");
    }

    #[test]
    fn an_empty_stream_and_one_whose_end_was_deleted_are_caught_up() {
        let mut caught_up = CaughtUp::default();
        caught_up.attached(0, 7);
        assert!(caught_up.tell(None));
        let mut caught_up = CaughtUp::default();
        caught_up.attached(2, 9);
        caught_up.nothing_waits();
        assert!(caught_up.tell(None));
    }
}
