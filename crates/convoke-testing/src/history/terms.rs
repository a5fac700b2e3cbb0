use std::fmt;
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

/// What runs on one node at a time: when each run began and ended, by one monotonic clock, and under which term.
#[derive(Debug, Default)]
pub struct Terms {
    runs: Mutex<Vec<Run>>,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Where.
    pub node: String,
    /// Under which term, or other fence.
    pub term: u64,
    /// From when.
    pub began: Instant,
    /// Until when; `None` while it runs.
    pub ended: Option<Instant>,
}

/// Two runs that must not both be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlap {
    /// The one that began first.
    pub earlier: Run,
    /// The other one.
    pub later: Run,
    why: &'static str,
}

/// A run under way. It ends when this is dropped: keep it in the body, so that a cancelled body ends it.
#[derive(Debug)]
#[must_use = "dropped, the run has ended"]
pub struct Running<'a> {
    terms: &'a Terms,
    place: usize,
}

impl Terms {
    /// None ran yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A body begins on this node.
    pub fn begin(&self, node: impl Into<String>, term: u64) -> Running<'_> {
        let run = Run { node: node.into(), term, began: Instant::now(), ended: None };
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner); // each change is one push
        runs.push(run);
        Running { terms: self, place: runs.len() - 1 }
    }

    /// All runs, in the order in which they began.
    #[must_use]
    pub fn runs(&self) -> Vec<Run> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often a run began under another term than the one before.
    #[must_use]
    pub fn changes(&self) -> usize {
        self.runs().windows(2).filter(|pair| pair[0].term != pair[1].term).count()
    }

    /// Whether one run at most was under way at any time, and the terms grew from node to node.
    ///
    /// # Errors
    /// The first two runs of which this does not hold.
    pub fn check(&self) -> Result<(), Box<Overlap>> {
        check(&self.runs())
    }
}

impl FromIterator<Run> for Terms {
    /// What was observed elsewhere, such as in several processes.
    fn from_iter<I: IntoIterator<Item = Run>>(runs: I) -> Self {
        Self { runs: Mutex::new(runs.into_iter().collect()) }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut runs = self.terms.runs.lock().unwrap_or_else(PoisonError::into_inner);
        runs[self.place].ended = Some(Instant::now());
    }
}

fn check(runs: &[Run]) -> Result<(), Box<Overlap>> {
    let mut runs = runs.to_vec();
    runs.sort_by_key(|run| run.began);
    let Some(mut last) = runs.first().cloned() else { return Ok(()) };
    for later in runs.into_iter().skip(1) {
        let why = if last.ended.is_none_or(|ended| ended > later.began) {
            Some("one began before the other had ended")
        } else if later.term < last.term {
            Some("the term went back")
        } else if later.term == last.term && later.node != last.node {
            Some("two nodes ran under one term")
        } else {
            None
        };
        if let Some(why) = why {
            return Err(Box::new(Overlap { earlier: last, later, why }));
        }
        last = later;
    }
    Ok(())
}

impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { earlier, later, why } = self;
        let after = |at: Instant| at.duration_since(earlier.began);
        writeln!(f, "{why}:")?;
        let ended = earlier.ended.map_or("running".to_owned(), |at| format!("ended at {:?}", after(at)));
        writeln!(f, "  {} in term {}: began at 0s, {ended}", earlier.node, earlier.term)?;
        let ended = later.ended.map_or("running".to_owned(), |at| format!("ended at {:?}", after(at)));
        write!(f, "  {} in term {}: began at {:?}, {ended}", later.node, later.term, after(later.began))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Runs as `(node, term, from, to)` in milliseconds; `to` is 0 for one that never ended.
    #[track_caller]
    fn complaint(runs: &[(&str, u64, u64, u64)]) -> Option<&'static str> {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let run = |&(node, term, from, to): &(&str, u64, u64, u64)| Run {
            node: node.into(),
            term,
            began: at(from),
            ended: (to > 0).then(|| at(to)),
        };
        runs.iter().map(run).collect::<Terms>().check().err().map(|overlap| overlap.why)
    }

    #[test]
    fn runs_one_after_the_other_under_growing_terms_pass() {
        assert_eq!(complaint(&[]), None);
        assert_eq!(complaint(&[("a", 1, 0, 5), ("a", 1, 5, 9), ("b", 3, 9, 0)]), None);
    }

    #[test]
    fn two_runs_at_a_time_are_found() {
        let overlap = Some("one began before the other had ended");
        assert_eq!(complaint(&[("a", 1, 0, 6), ("b", 2, 5, 9)]), overlap);
        assert_eq!(complaint(&[("b", 2, 5, 9), ("a", 1, 0, 0)]), overlap, "one that never ended");
    }

    #[test]
    fn a_term_that_goes_back_or_serves_two_nodes_is_found() {
        assert_eq!(complaint(&[("a", 2, 0, 1), ("b", 1, 2, 3)]), Some("the term went back"));
        assert_eq!(complaint(&[("a", 2, 0, 1), ("b", 2, 2, 3)]), Some("two nodes ran under one term"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancelled_body_ends_its_run() {
        let terms = Terms::new();
        let body = async {
            let _running = terms.begin("a", 1);
            std::future::pending::<()>().await;
        };
        let _cancelled = tokio::time::timeout(Duration::from_millis(7), body).await;
        assert_eq!(terms.runs()[0].ended, Some(terms.runs()[0].began + Duration::from_millis(7)));
        assert!(terms.check().is_ok());
    }
}
