//! The shortest part of a history that has no order.

use std::collections::HashSet;

use super::Limits;
use super::Model;
use super::search::{Entry, Found, Search};

/// Operations that the window's end is moved back over, at most.
const TRIED_MAX: usize = 64;

/// Of a history without an order, the entries of a short part of it that has none either, whatever came before it,
/// and the states that could have been before.
pub(super) fn shortest<M: Model>(
    model: &M,
    history: &[Entry<'_, M>],
    limits: Limits,
) -> (Vec<M::State>, Vec<usize>) {
    let (end, states) = earliest_end(model, history, limits);
    let seen: Vec<usize> = (0..history.len()).filter(|entry| history[*entry].called < end).collect();
    let mut returns: Vec<u64> =
        seen.iter().map(|entry| history[*entry].returned).filter(|at| *at <= end).collect();
    returns.sort_unstable_by(|a, b| b.cmp(a));
    for start in returns.into_iter().take(TRIED_MAX) {
        let (window, entries) = cut(history, &seen, start, end);
        if Search::new(model, limits).run(&window, states.iter().cloned()) == Found::None {
            return (states, entries);
        }
    }
    (vec![model.initial()], seen)
}

/// The first return behind which there is no order any more, and every state met on the way.
///
/// What holds no order does not gain one by what comes later, so the end is found by halving.
fn earliest_end<M: Model>(model: &M, history: &[Entry<'_, M>], limits: Limits) -> (u64, Vec<M::State>) {
    let mut returns: Vec<u64> = history.iter().filter(|e| e.required).map(|e| e.returned).collect();
    returns.sort_unstable();
    let until = |end: u64| -> Vec<Entry<'_, M>> {
        history.iter().filter(|entry| entry.called < end).map(|entry| entry.as_of(end)).collect()
    };
    let fails = |end: u64| Search::new(model, limits).run(&until(end), [model.initial()]) == Found::None;
    let first = returns.partition_point(|end| !fails(*end));
    let end = returns[first.min(returns.len() - 1)];
    let mut search = Search::new(model, limits);
    search.run(&until(end), [model.initial()]);
    let states: HashSet<M::State> = search.states();
    (end, states.into_iter().collect())
}

/// What returned from `start` on, all of which an order must hold, and what it may hold: that which was under way with
/// any of these. Everything else was over before them.
fn cut<'a, M: Model>(
    history: &[Entry<'a, M>],
    seen: &[usize],
    start: u64,
    end: u64,
) -> (Vec<Entry<'a, M>>, Vec<usize>) {
    let is_required = |entry: &Entry<'_, M>| entry.required && (start..=end).contains(&entry.returned);
    let required = seen.iter().filter(|entry| is_required(&history[**entry]));
    let called_min = required.map(|entry| history[*entry].called).min().unwrap_or(start);
    let entries: Vec<usize> =
        seen.iter().copied().filter(|entry| history[*entry].returned > called_min).collect();
    let as_seen = |entry: &usize| {
        let entry = &history[*entry];
        if is_required(entry) { entry.clone() } else { entry.as_of(end).optional() }
    };
    (entries.iter().map(as_seen).collect(), entries)
}
