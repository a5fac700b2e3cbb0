use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What one connection is doing, so that each phase has its own deadline.
///
/// hyper has one timer for waiting and for reading a head alike. A client may wait for its next request much
/// longer than it may take over one, so the wire reports bytes here and the service reports requests.
#[derive(Debug)]
pub(super) struct Pulse {
    header_timeout: Duration,
    keep_alive_idle: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    since: Instant,
    /// Request bodies and responses that are still open.
    open: u32,
    /// Responses that are complete but may not have been written to the end.
    unflushed: usize,
    /// Requests that were answered to the end.
    completed: usize,
    /// The last request's body was dropped before its end.
    unread: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing has come yet.
    New,
    /// A request's head has begun to arrive.
    Head,
    /// A request is being read, handled or answered.
    Busy,
    /// Between two requests.
    Idle,
}

impl Pulse {
    pub(super) fn new(header_timeout: Duration, keep_alive_idle: Duration) -> Arc<Self> {
        let state = State {
            phase: Phase::New,
            since: Instant::now(),
            open: 0,
            unflushed: 0,
            completed: 0,
            unread: false,
        };
        Arc::new(Self { header_timeout, keep_alive_idle, state: Mutex::new(state) })
    }

    /// Bytes came in: if nothing was under way, a head has begun.
    pub(super) fn bytes_arrived(&self) {
        let mut state = self.lock();
        match state.phase {
            // The first head's time runs from the beginning: silence is no better than half a head.
            Phase::New => state.phase = Phase::Head,
            Phase::Idle => {
                state.phase = Phase::Head;
                state.since = Instant::now();
            }
            Phase::Head | Phase::Busy => {}
        }
    }

    /// A request's head is complete. The connection is busy until the guard, and that of the request's body,
    /// are gone and all is written.
    pub(super) fn request(self: &Arc<Self>) -> Open {
        let mut state = self.lock();
        state.unread = false;
        state.phase = Phase::Busy;
        state.open += 1;
        Open(Arc::clone(self))
    }

    /// Everything that was there to write has been written.
    pub(super) fn flushed(&self) {
        let mut state = self.lock();
        state.completed += std::mem::take(&mut state.unflushed);
        state.rest();
    }

    pub(super) fn phase(&self) -> Phase {
        self.lock().phase
    }

    pub(super) fn completed(&self) -> usize {
        self.lock().completed
    }

    /// When the connection has been in its phase for too long.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let state = self.lock();
        match state.phase {
            Phase::New | Phase::Head => Some(state.since + self.header_timeout),
            Phase::Busy => None,
            Phase::Idle => Some(state.since + self.keep_alive_idle),
        }
    }

    /// Whether the peer may still be sending what nobody will read: a plain close would then reset the
    /// connection and could destroy the answer on its way.
    pub(super) fn peer_may_be_sending(&self) -> bool {
        let state = self.lock();
        state.unread || state.phase == Phase::Head
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change below is complete before anything could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Ends the busy phase, if nothing is left of it.
    fn rest(&mut self) {
        if self.phase == Phase::Busy && self.open == 0 && self.unflushed == 0 {
            self.phase = Phase::Idle;
            self.since = Instant::now();
        }
    }
}

/// Held while a request is handled and its response is taken.
#[derive(Debug)]
pub(super) struct Open(Arc<Pulse>);

impl Open {
    /// Another guard, for the request's body: a handler may read it beyond its own answer.
    pub(super) fn body(&self) -> OpenBody {
        self.0.lock().open += 1;
        OpenBody(Arc::clone(&self.0))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.open -= 1;
        // hyper has the last of the response now, and always flushes next.
        state.unflushed += 1;
    }
}

/// Held while a request's body may be read.
#[derive(Debug)]
pub(super) struct OpenBody(Arc<Pulse>);

impl OpenBody {
    /// The body is dropped before its end.
    pub(super) fn left_unread(&self) {
        self.0.lock().unread = true;
    }
}

impl Drop for OpenBody {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.open -= 1;
        state.rest();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pulse() -> Arc<Pulse> {
        Pulse::new(Duration::from_secs(5), Duration::from_secs(60))
    }

    #[test]
    fn a_connection_is_busy_until_body_and_response_are_gone_and_all_is_written() {
        let pulse = pulse();
        assert_eq!(pulse.phase(), Phase::New);
        let response = pulse.request();
        let body = response.body();
        pulse.flushed();
        drop(response);
        assert_eq!((pulse.phase(), pulse.completed(), pulse.deadline()), (Phase::Busy, 0, None));
        pulse.flushed();
        assert_eq!((pulse.phase(), pulse.completed()), (Phase::Busy, 1));
        drop(body);
        assert_eq!((pulse.phase(), pulse.completed()), (Phase::Idle, 1));
    }

    #[test]
    fn the_first_byte_after_a_pause_starts_the_shorter_deadline() {
        let pulse = pulse();
        drop(pulse.request());
        pulse.flushed();
        let idle = pulse.deadline().expect("idle has a deadline");
        pulse.bytes_arrived();
        let head = pulse.deadline().expect("a head has a deadline");
        assert!(head < idle);
        pulse.bytes_arrived();
        assert_eq!(pulse.deadline(), Some(head), "later bytes do not prolong it");
    }
}
