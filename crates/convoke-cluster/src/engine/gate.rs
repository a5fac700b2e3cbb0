use tokio::time::{Instant, timeout_at};

use super::runtime::watch;

/// What runs for the leader on this node, and whether more may begin.
///
/// A leader that hands over closes it for its term and waits until it is empty: only then another node may lead.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    state: watch::Sender<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct State {
    /// This term and all before it are over on this node.
    closed: u64,
    inside: usize,
}

/// Something that runs for the leader. It is over when this is dropped.
#[derive(Debug)]
pub(crate) struct Inside {
    gate: Gate,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self { state: watch::Sender::new(State::default()) }
    }

    /// Begins something in this term. `None` when the term is over here.
    pub(crate) fn enter(&self, term: u64) -> Option<Inside> {
        let entered = self.state.send_if_modified(|state| {
            let open = state.closed < term;
            state.inside += usize::from(open);
            open
        });
        // Not `then_some`: one that is made and dropped would count as one that left.
        entered.then(|| Inside { gate: self.clone() })
    }

    pub(crate) fn is_open(&self, term: u64) -> bool {
        self.state.borrow().closed < term
    }

    /// Ends the term on this node.
    pub(crate) fn close(&self, term: u64) {
        self.state.send_if_modified(|state| {
            let later = state.closed < term;
            state.closed = state.closed.max(term);
            later
        });
    }

    /// The term goes on after all: nobody was told to take over.
    pub(crate) fn reopen(&self, term: u64) {
        self.state.send_if_modified(|state| {
            let same = state.closed == term;
            state.closed -= u64::from(same && term > 0);
            same
        });
    }

    /// Returns when the term is over here.
    pub(crate) async fn closed(&self, term: u64) {
        // The sender is ours, so it lives.
        let _ = self.state.subscribe().wait_for(|state| state.closed >= term).await;
    }

    /// Returns when the term goes on after all.
    pub(crate) async fn reopened(&self, term: u64) {
        // As above.
        let _ = self.state.subscribe().wait_for(|state| state.closed < term).await;
    }

    /// Whether everything inside ended before the deadline.
    pub(crate) async fn empty(&self, deadline: Instant) -> bool {
        let mut state = self.state.subscribe();
        timeout_at(deadline, state.wait_for(|state| state.inside == 0)).await.is_ok()
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.gate.state.send_modify(|state| state.inside -= 1);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_term_that_is_not_handed_over_goes_on() {
        let gate = Gate::new();
        gate.close(3);
        gate.reopen(3);
        gate.reopened(3).await;
        assert!(gate.enter(3).is_some());
        gate.close(4);
        gate.reopen(3);
        assert!(!gate.is_open(4), "a later term stays closed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_term_lets_nothing_in_and_waits_for_what_is_inside() {
        let gate = Gate::new();
        let inside = gate.enter(3).expect("it is open");
        gate.close(3);
        gate.closed(3).await;
        assert!(gate.enter(3).is_none());
        assert!(!gate.empty(Instant::now() + Duration::from_millis(10)).await);
        drop(inside);
        assert!(gate.empty(Instant::now()).await);
        assert!(gate.enter(4).is_some());
    }
}
