//! Histories of concurrent operations, and whether one order of them explains what every client saw.
//!
//! A history is *linearizable* when each operation can be given one moment between its call and its return so that,
//! in the order of these moments, a single copy gives the very answers that were seen. An operation whose outcome is
//! unknown (a timeout, a lost connection) took effect at any time from its call on, or never.
//!
//! ```
//! use convoke_testing::history::{Limits, Recorder, Register, RegisterAnswer, RegisterCall, check};
//!
//! let recorder = Recorder::new();
//! let written = recorder.call(1, "a", RegisterCall::Write(7));
//! let read = recorder.call(2, "a", RegisterCall::Read);
//! written.returned(RegisterAnswer::Done);
//! read.returned(RegisterAnswer::Value(Some(7)));
//! recorder.call(2, "a", RegisterCall::Write(8)); // dropped without an answer: its outcome is unknown
//! check(&Register, &recorder.operations(), Limits::default()).assert();
//! ```

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::hash::Hash;
use std::time::Duration;

mod fence;
mod lock;
mod recorder;
mod register;
mod report;
mod search;
mod terms;
mod window;

pub use fence::{Fence, FencedWrite};
pub use lock::{Held, Lock, LockAnswer, LockCall};
pub use recorder::{Pending, Recorder};
pub use register::{Register, RegisterAnswer, RegisterCall};
pub use terms::{Overlap, Run, Running, Terms};

/// What one copy, asked by one client after the other, would answer.
pub trait Model {
    /// What the copy holds for one key.
    type State: Clone + Eq + Hash + Debug;
    /// What a client asks.
    type Call: Clone + Debug;
    /// What it is told.
    type Answer: Clone + Debug;

    /// What a key holds before anybody asked.
    fn initial(&self) -> Self::State;

    /// What the key holds after this call, or `None` when the call would not be answered so. Without an answer,
    /// whatever the call does.
    fn step(
        &self,
        state: &Self::State,
        call: &Self::Call,
        answer: Option<&Self::Answer>,
    ) -> Option<Self::State>;
}

/// One call, and what became of it. Times are places in one order of all events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation<C, A> {
    /// Who called. A client may have more than one call under way.
    pub client: u64,
    /// What was called upon. Each key is looked at by itself.
    pub key: String,
    /// The call.
    pub call: C,
    /// When it was made.
    pub called: u64,
    /// When it was answered, and what; `None` when nobody knows whether it was done, or will be.
    pub returned: Option<(u64, A)>,
}

/// How much looking for an order may cost, for each key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Steps of the model that are tried. Default: 5 million.
    pub steps_max: u64,
    /// The time they may take. Default: 60 s.
    pub time_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { steps_max: 5_000_000, time_max: Duration::from_secs(60) }
    }
}

impl Limits {
    /// At most this many steps.
    #[must_use]
    pub fn steps(mut self, steps_max: u64) -> Self {
        self.steps_max = steps_max;
        self
    }
}

/// What came of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a history that is not linearizable is a finding"]
pub enum Verdict {
    /// An order was found for every key.
    Linearizable,
    /// There is no order for this key.
    Violated(Violation),
    /// Neither: the limits were reached first. Not a pass.
    Undecided {
        /// The key that took too long.
        key: String,
        /// Its operations.
        operations: usize,
        /// The steps that were tried.
        steps: u64,
    },
}

/// Operations that contradict each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// What they were called upon.
    pub key: String,
    /// The places, in the history as it was given, of the shortest run of operations without an order.
    pub window: Vec<usize>,
    /// Them, as people read them.
    pub text: String,
}

impl Verdict {
    /// Whether an order was found.
    #[must_use]
    pub fn is_linearizable(&self) -> bool {
        *self == Self::Linearizable
    }

    /// The contradiction, when there is one.
    #[must_use]
    pub fn violation(&self) -> Option<&Violation> {
        if let Self::Violated(violation) = self { Some(violation) } else { None }
    }

    /// Passes when an order was found.
    ///
    /// # Panics
    /// With the operations that contradict each other, or with what was tried when that was not enough.
    #[track_caller]
    pub fn assert(self) {
        assert!(self.is_linearizable(), "{self}");
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Linearizable => f.write_str("linearizable"),
            Self::Violated(violation) => f.write_str(&violation.text),
            Self::Undecided { key, operations, steps } => write!(
                f,
                "undecided, and no pass: {steps} steps were not enough for the {operations} operations on {key:?}"
            ),
        }
    }
}

/// Looks for an order that explains all operations, key by key.
///
/// # Panics
/// When an operation returns before it was called.
pub fn check<M: Model>(model: &M, operations: &[Operation<M::Call, M::Answer>], limits: Limits) -> Verdict {
    let mut keys: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (place, operation) in operations.iter().enumerate() {
        let ordered = operation.returned.as_ref().is_none_or(|(returned, _)| *returned > operation.called);
        assert!(ordered, "operation {place} returned before it was called: {operation:?}");
        keys.entry(&operation.key).or_default().push(place);
    }
    let mut undecided = None;
    for (key, mut places) in keys {
        places.sort_by_key(|place| operations[*place].called);
        match check_key(model, operations, &places, limits) {
            Verdict::Linearizable => {}
            Verdict::Undecided { operations, steps, .. } => {
                // Another key may hold a violation, which says more.
                undecided = Some(Verdict::Undecided { key: key.to_owned(), operations, steps });
            }
            violated @ Verdict::Violated(_) => return violated,
        }
    }
    undecided.unwrap_or(Verdict::Linearizable)
}

/// The same for the operations at these places, which are all of one key.
fn check_key<M: Model>(
    model: &M,
    operations: &[Operation<M::Call, M::Answer>],
    places: &[usize],
    limits: Limits,
) -> Verdict {
    let history: Vec<search::Entry<'_, M>> =
        places.iter().map(|place| search::Entry::of(&operations[*place])).collect();
    let mut search = search::Search::new(model, limits);
    match search.run(&history, [model.initial()]) {
        search::Found::Order => Verdict::Linearizable,
        search::Found::TooLong => {
            Verdict::Undecided { key: String::new(), operations: places.len(), steps: search.steps() }
        }
        search::Found::None => {
            let (from, window) = window::shortest(model, &history, limits);
            let window: Vec<usize> = window.into_iter().map(|entry| places[entry]).collect();
            let shown: Vec<_> = window.iter().map(|place| &operations[*place]).collect();
            let text = report::text(&shown, places.len(), &from);
            Verdict::Violated(Violation { key: shown[0].key.clone(), window, text })
        }
    }
}
