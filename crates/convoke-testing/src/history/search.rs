//! The search for an order, after Wing and Gong, with Lowe's memory of what was tried.

use std::collections::HashSet;
use std::time::Instant;

use super::{Limits, Model, Operation};

/// Steps between two looks at the clock.
const STEPS_PER_LOOK: u64 = 4096;

/// One operation of one key.
pub(super) struct Entry<'a, M: Model> {
    call: &'a M::Call,
    answer: Option<&'a M::Answer>,
    pub(super) called: u64,
    /// `u64::MAX` when the outcome is unknown.
    pub(super) returned: u64,
    /// Whether an order must hold it. One that need not may have been before everything, or never.
    pub(super) required: bool,
}

impl<M: Model> Clone for Entry<'_, M> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

impl<'a, M: Model> Entry<'a, M> {
    pub(super) fn of(operation: &'a Operation<M::Call, M::Answer>) -> Self {
        let returned = operation.returned.as_ref();
        Self {
            call: &operation.call,
            answer: returned.map(|(_, answer)| answer),
            called: operation.called,
            returned: returned.map_or(u64::MAX, |(at, _)| *at),
            required: returned.is_some(),
        }
    }

    /// As it was seen before this moment: without its answer, when that came later.
    pub(super) fn as_of(&self, moment: u64) -> Self {
        if self.returned <= moment {
            return self.clone();
        }
        Self { answer: None, returned: u64::MAX, required: false, ..*self }
    }

    /// The same, but an order need not hold it.
    pub(super) fn optional(&self) -> Self {
        Self { required: false, ..*self }
    }
}

/// What a search found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Order,
    None,
    TooLong,
}

/// Which operations are in the order so far: all required ones below `below` that are not `optional`, and `beyond`.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Taken {
    below: usize,
    /// Those from `below` on, and the ones not required, sorted.
    beyond: Vec<usize>,
}

/// A point of the search: what was taken, what the state is then, and what can be tried next.
struct Point<S> {
    taken: Taken,
    state: S,
    /// The latest call among those taken: what had returned before it must have been taken before.
    called_max: u64,
    next: Vec<usize>,
}

pub(super) struct Search<'a, M: Model> {
    model: &'a M,
    limits: Limits,
    steps: u64,
    until: Instant,
    tried: HashSet<(Taken, M::State)>,
}

impl<'a, M: Model> Search<'a, M> {
    pub(super) fn new(model: &'a M, limits: Limits) -> Self {
        Self { model, limits, steps: 0, until: Instant::now() + limits.time_max, tried: HashSet::new() }
    }

    pub(super) fn steps(&self) -> u64 {
        self.steps
    }

    /// Every state that was met.
    pub(super) fn states(&self) -> HashSet<M::State> {
        self.tried.iter().map(|(_, state)| state.clone()).collect()
    }

    /// Whether there is an order of the history, sorted by calls, from one of these states.
    pub(super) fn run(
        &mut self,
        history: &[Entry<'_, M>],
        from: impl IntoIterator<Item = M::State>,
    ) -> Found {
        for state in from {
            let found = self.run_from(history, state);
            if found != Found::None {
                return found;
            }
        }
        Found::None
    }

    fn run_from(&mut self, history: &[Entry<'_, M>], state: M::State) -> Found {
        let start = Taken { below: skip_optional(history, 0), beyond: Vec::new() };
        if !self.tried.insert((start.clone(), state.clone())) {
            return Found::None;
        }
        let next = candidates(history, &start, 0);
        let mut points = vec![Point { taken: start, state, called_max: 0, next }];
        while let Some(point) = points.last_mut() {
            if point.taken.below == history.len() {
                return Found::Order;
            }
            let Some(entry) = point.next.pop() else {
                points.pop();
                continue;
            };
            self.steps += 1;
            if self.is_too_long() {
                return Found::TooLong;
            }
            let operation = &history[entry];
            let Some(state) = self.model.step(&point.state, operation.call, operation.answer) else {
                continue;
            };
            if !operation.required && state == point.state {
                continue; // taking it only forbids things
            }
            let taken = take(history, &point.taken, entry);
            if !self.tried.insert((taken.clone(), state.clone())) {
                continue;
            }
            let called_max = point.called_max.max(operation.called);
            let next = candidates(history, &taken, called_max);
            points.push(Point { taken, state, called_max, next });
        }
        Found::None
    }

    fn is_too_long(&self) -> bool {
        self.steps > self.limits.steps_max
            || (self.steps.is_multiple_of(STEPS_PER_LOOK) && Instant::now() > self.until)
    }
}

/// What may come next, the most promising last: of those that must be taken, the one that returned first.
fn candidates<M: Model>(history: &[Entry<'_, M>], taken: &Taken, called_max: u64) -> Vec<usize> {
    let is_taken = |entry: &usize| taken.beyond.binary_search(entry).is_ok();
    let mut returned_min = u64::MAX;
    let mut required = Vec::new();
    for (entry, operation) in history.iter().enumerate().skip(taken.below) {
        if operation.called >= returned_min {
            break;
        }
        if operation.required && !is_taken(&entry) {
            returned_min = returned_min.min(operation.returned);
            required.push(entry);
        }
    }
    required.sort_by_key(|entry| std::cmp::Reverse(history[*entry].returned));
    let may = |operation: &Entry<'_, M>| operation.called < returned_min && operation.returned > called_max;
    let optional = history.iter().enumerate().filter(|(_, operation)| !operation.required && may(operation));
    let mut next: Vec<usize> = optional.map(|(entry, _)| entry).filter(|entry| !is_taken(entry)).collect();
    next.append(&mut required);
    next
}

fn take<M: Model>(history: &[Entry<'_, M>], taken: &Taken, entry: usize) -> Taken {
    let mut taken = taken.clone();
    let place = taken.beyond.binary_search(&entry).expect_err("a candidate is not taken yet");
    taken.beyond.insert(place, entry);
    // What lies below the first one that is still to be taken needs no list.
    while taken.below < history.len() {
        match taken.beyond.binary_search(&taken.below) {
            Ok(place) if history[taken.below].required => {
                taken.beyond.remove(place);
                taken.below = skip_optional(history, taken.below + 1);
            }
            _ => break,
        }
    }
    taken
}

fn skip_optional<M: Model>(history: &[Entry<'_, M>], from: usize) -> usize {
    (from..history.len()).find(|entry| history[*entry].required).unwrap_or(history.len())
}
